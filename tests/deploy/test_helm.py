"""The chart renders to what a cluster takes, refuses values that make no sense, and changes Jobs only by new ones."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from downloader import __version__
from downloader.config import sharing
from downloader.sources.registry import SCHEMES
from tests.deploy.manifests import (
    CHART,
    DEPLOY,
    check_schema,
    dangling,
    find_helm,
    helm,
    known_variables,
    of_kind,
    pods,
    variables,
    violations,
)

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING: dict[str, Any] = {
    "artifacts": [
        {"name": "tiny", "uri": "hf://org/tiny@main", "size": "20Gi"},
        {
            "name": "big",
            "uri": "s3://bucket/prefix",
            "existingClaim": "models",
            "args": ["--exclude", "*.bin"],
            "shards": 2,
            "env": [{"name": "AIM_REQUIRE_DIGEST", "value": "true"}],
            "aimArtifact": "big-one",
        },
    ],
    "image": {"repository": "registry.example.com/downloader", "digest": f"sha256:{'a' * 64}"},
    "imagePullSecrets": [{"name": "pull"}],
    "env": [{"name": "STALL_TIMEOUT", "value": "60"}],
    "hub": {"tokenSecret": "hub"},
    "s3": {"endpoint": "https://s3.example.com", "region": "eu", "keysSecret": "s3"},
    "caBundle": {"configMap": "ca"},
    "storage": {"className": "fast"},
    "job": {"ttlSecondsAfterFinished": 0, "suspend": True, "labels": {"kueue.x-k8s.io/queue-name": "downloads"}},
    "status": {"enabled": True},
    "extraVolumes": [{"name": "metrics", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "metrics", "mountPath": "/metrics"}],
    "networkPolicy": {"enabled": True, "ports": [443, 9000]},
    "priorityClassName": "low",
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}
ONE: dict[str, Any] = {"artifacts": EVERYTHING["artifacts"][:1]}


def render(tmp_path: Path, values: dict[str, Any], *arguments: str) -> list[dict[str, Any]]:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    return helm("-f", str(tmp_path / "values.yaml"), *arguments)


def job_names(manifests: list[dict[str, Any]]) -> list[str]:
    return [job["metadata"]["name"] for job in of_kind(manifests, "Job")]


@pytest.mark.parametrize("values", [ONE, EVERYTHING], ids=["one", "everything"])
def test_the_chart_renders_to_valid_manifests(tmp_path: Path, values: dict[str, Any]) -> None:
    manifests = render(tmp_path, values)

    for manifest in manifests:
        check_schema(manifest)
    for pod in pods(manifests):
        assert violations(pod) == []
        assert dangling(pod) == set()
        assert set(variables(pod)) <= known_variables()


def test_the_chart_is_clean_for_helms_own_linter(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(EVERYTHING))
    command = [
        find_helm(),
        "lint",
        "--strict",
        "--kube-version",
        "1.32.0",
        "-f",
        str(tmp_path / "values.yaml"),
        str(CHART),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_artifact_has_a_job_a_folder_and_a_claim(tmp_path: Path) -> None:
    manifests = render(tmp_path, EVERYTHING)
    tiny, big = of_kind(manifests, "Job")
    (claim,) = of_kind(manifests, "PersistentVolumeClaim")

    assert [pod["containers"][0]["args"] for pod in pods([tiny, big])] == [
        ["hf://org/tiny@main"],
        ["s3://bucket/prefix", "--exclude", "*.bin"],
    ]
    assert [variables(pod)["TARGET_DIR"] for pod in pods([tiny, big])] == ["/cache", "/cache/big"]
    claims = [pod["volumes"][0]["persistentVolumeClaim"]["claimName"] for pod in pods([tiny, big])]
    assert claims == [claim["metadata"]["name"], "models"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert variables(big["spec"]["template"]["spec"])["ARTIFACT_NAME"] == "big-one"
    assert "ARTIFACT_NAME" not in variables(tiny["spec"]["template"]["spec"])


def test_an_artifact_with_shards_is_an_indexed_job_that_needs_a_shared_volume(tmp_path: Path) -> None:
    big = {**EVERYTHING["artifacts"][0], "shards": 4}
    manifests = render(tmp_path, {"artifacts": [big], "storage": {"accessModes": ["ReadWriteMany"]}})
    (job,) = of_kind(manifests, "Job")
    (pod, _) = pods(manifests)

    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 4, 4)
    assert (job["spec"]["backoffLimitPerIndex"], "backoffLimit" in job["spec"]) == (3, False)
    assert variables(pod)["AIM_DOWNLOADER_SHARDS"] == "4"
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["properties"]["artifacts"]["items"]["properties"]["shards"]["maximum"] == sharing.MAX_SHARDS
    assert job["spec"]["template"]["metadata"]["labels"].items() >= (
        pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].items()
    )
    with pytest.raises(AssertionError, match="add ReadWriteMany"):
        render(tmp_path, {"artifacts": [big]})


def test_a_change_of_the_pod_makes_another_job_and_nothing_else_does(tmp_path: Path) -> None:
    before = render(tmp_path, EVERYTHING)
    mutable = EVERYTHING | {"job": EVERYTHING["job"] | {"backoffLimit": 9, "suspend": False}}

    assert job_names(render(tmp_path, mutable)) == job_names(before)
    assert job_names(render(tmp_path, EVERYTHING | {"priorityClassName": "high"})) != job_names(before)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    labels = [
        label for job in of_kind(before, "Job") for label in job["spec"]["template"]["metadata"]["labels"].values()
    ]
    assert not [label for label in labels if chart["version"] in label], (
        "the template of a Job must not change with the chart"
    )


def test_the_chart_and_kustomize_give_up_for_the_same_exit_statuses(tmp_path: Path) -> None:
    (job,) = of_kind(render(tmp_path, ONE), "Job")
    base = yaml.safe_load((DEPLOY / "kustomize" / "base" / "job.yaml").read_text())

    assert job["spec"]["podFailurePolicy"] == base["spec"]["podFailurePolicy"]


def test_only_a_release_that_patches_a_status_has_a_token(tmp_path: Path) -> None:
    (pod, _) = pods(render(tmp_path, ONE))
    manifests = render(tmp_path, EVERYTHING)

    assert pod["automountServiceAccountToken"] is False
    accounts = [account["metadata"]["name"] for account in of_kind(manifests, "ServiceAccount")]
    assert {pod["serviceAccountName"] for pod in pods(manifests)} == set(accounts)
    (role,) = of_kind(manifests, "Role")
    assert role["rules"] == [
        {"apiGroups": ["aim.eai.amd.com"], "resources": ["aimartifacts/status"], "verbs": ["get", "patch", "update"]}
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"artifacts": [{"name": "tiny", "uri": "hf://org/tiny"}]},
        {"artifacts": [{"name": "tiny", "uri": "hf://org/tiny", "size": "1Gi", "existingClaim": "x"}]},
        {"artifacts": [{"name": "Tiny_Model", "uri": "hf://org/tiny", "size": "1Gi"}]},
        {"artifacts": [{"name": "tiny", "uri": "org/tiny", "size": "1Gi"}]},
        {"artifacts": [{"name": "tiny", "uri": "hf://org/tiny", "existingClaim": "x", "folder": "../y"}]},
        {"artifacts": [{"name": "tiny", "uri": "hf://org/tiny", "siz": "1Gi"}]},
        {"artefacts": []},
        {"image": {"repository": "x", "digest": "latest"}},
        {"image": {"repository": "x", "variant": "extras"}},
    ],
    ids=["no-size", "two-volumes", "name", "uri", "folder", "misspelt", "misspelt-key", "digest", "variant"],
)
def test_values_that_make_no_sense_are_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="values don't meet the specifications"):
        render(tmp_path, values)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_kind_of_uri_is_taken(tmp_path: Path, scheme: str) -> None:
    artifact = {"name": "tiny", "uri": f"{scheme}://host/path", "size": "1Gi"}
    (job,) = of_kind(render(tmp_path, {"artifacts": [artifact]}), "Job")
    assert f"{scheme}://host/path" in job["spec"]["template"]["spec"]["containers"][0]["args"]


def test_two_artifacts_of_one_name_are_refused(tmp_path: Path) -> None:
    artifact = {"name": "tiny", "uri": "hf://org/tiny", "size": "1Gi"}
    with pytest.raises(AssertionError, match="two artifacts have the name tiny"):
        render(tmp_path, {"artifacts": [artifact, {**artifact, "uri": "hf://org/other"}]})


@pytest.mark.parametrize(
    ("image", "chosen"),
    [
        ({}, f"x:{__version__}"),
        ({"variant": "full"}, f"x:{__version__}-full"),
        ({"variant": "full", "tag": "1.2.3"}, "x:1.2.3-full"),
        ({"variant": "full", "digest": f"sha256:{'a' * 64}"}, f"x@sha256:{'a' * 64}"),
    ],
    ids=["default", "variant", "tag", "digest"],
)
def test_the_variant_of_the_image_is_the_end_of_its_tag(tmp_path: Path, image: dict[str, str], chosen: str) -> None:
    manifests = render(tmp_path, ONE | {"image": {"repository": "x", **image}})
    assert {pod["containers"][0]["image"] for pod in pods(manifests)} == {chosen}


def test_versions_are_the_programs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["version"] == chart["appVersion"] == __version__
