"""The kustomizations render to what a cluster takes, and each page and overlay names the others."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.deploy.manifests import (
    DEPLOY,
    check_schema,
    dangling,
    known_variables,
    kustomize,
    of_kind,
    pods,
    variables,
    violations,
)

if TYPE_CHECKING:
    from pathlib import Path

OVERLAYS = sorted(folder.name for folder in (DEPLOY / "kustomize" / "overlays").iterdir())
PAGE = (DEPLOY.parent / "docs" / "kubernetes.md").read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_renders_to_valid_manifests_of_one_namespace(overlay: str) -> None:
    manifests = kustomize(DEPLOY / "kustomize" / "overlays" / overlay)

    for manifest in manifests:
        check_schema(manifest)
    namespaced = [each for each in manifests if each["kind"] not in {"PersistentVolume", "ClusterRole"}]
    assert {each["metadata"]["namespace"] for each in namespaced} == {"models"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_satisfies_the_restricted_standard_and_refers_to_what_is_there(overlay: str) -> None:
    manifests = kustomize(DEPLOY / "kustomize" / "overlays" / overlay)
    (pod,) = pods(manifests)
    (claim,) = of_kind(manifests, "PersistentVolumeClaim")

    assert violations(pod) == []
    assert dangling(pod) == set()
    assert set(variables(pod)) <= known_variables()
    claimed = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume and not volume["persistentVolumeClaim"].get("readOnly")
    ]
    assert claimed == [claim["metadata"]["name"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_page_links_to_every_overlay(overlay: str) -> None:
    assert f"(../deploy/kustomize/overlays/{overlay}/kustomization.yaml)" in PAGE


def test_the_pods_of_an_indexed_job_know_how_many_they_are() -> None:
    manifests = kustomize(DEPLOY / "kustomize" / "overlays" / "indexed")
    (job,) = of_kind(manifests, "Job")
    (claim,) = of_kind(manifests, "PersistentVolumeClaim")
    (pod,) = pods(manifests)

    assert job["spec"]["completionMode"] == "Indexed"
    assert {str(job["spec"][name]) for name in ("completions", "parallelism")} == {
        variables(pod)["AIM_DOWNLOADER_SHARDS"]
    }
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_only_a_pod_that_patches_a_status_has_a_token() -> None:
    (without,) = pods(kustomize(DEPLOY / "kustomize" / "overlays" / "hub"))
    manifests = kustomize(DEPLOY / "kustomize" / "overlays" / "status")
    (pod,) = pods(manifests)
    (account,) = of_kind(manifests, "ServiceAccount")
    (binding,) = of_kind(manifests, "RoleBinding")

    assert without["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert "automountServiceAccountToken" not in pod
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "artifact-downloader", "namespace": "models"}]
    assert variables(pod)["ARTIFACT_NAME"] == "model"


def test_a_copy_reads_another_claim_and_cannot_change_it() -> None:
    (pod,) = pods(kustomize(DEPLOY / "kustomize" / "overlays" / "copy"))
    container = pod["containers"][0]
    (source,) = [mount for mount in container["volumeMounts"] if mount["name"] == "source"]

    assert container["args"][0] == f"file://{source['mountPath']}"
    assert source["readOnly"] is True


def test_openshift_names_no_user_and_no_group() -> None:
    (pod,) = pods(kustomize(DEPLOY / "kustomize" / "overlays" / "openshift"))

    assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(pod["securityContext"])


def test_keys_of_s3_are_files_of_a_secret() -> None:
    (pod,) = pods(kustomize(DEPLOY / "kustomize" / "overlays" / "s3"))
    (folder,) = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "s3"]

    values = variables(pod)
    assert values["AWS_SECRET_ACCESS_KEY_FILE"].startswith(f"{folder}/")
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(values)


@pytest.mark.parametrize("component", ["network-policy", "status"])
def test_a_component_can_be_added_to_an_overlay(tmp_path: Path, component: str) -> None:
    tree = shutil.copytree(DEPLOY / "kustomize", tmp_path / "kustomize")
    overlay = tree / "overlays" / "web" / "kustomization.yaml"
    content = yaml.safe_load(overlay.read_text())
    overlay.write_text(yaml.safe_dump(content | {"components": [f"../../components/{component}"]}))

    manifests = kustomize(overlay.parent)

    for manifest in manifests:
        check_schema(manifest)
    assert len(manifests) > 2, "a component adds manifests"
