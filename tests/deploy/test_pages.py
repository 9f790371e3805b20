"""The YAML in the pages is what Kubernetes, the chart and the program take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.manifests import (
    DEPLOY,
    check_schema,
    dangling,
    helm,
    known_variables,
    of_kind,
    pods,
    variables,
    violations,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = sorted(path for path in [Path("README.md"), *Path("docs").rglob("*.md")] if "```yaml" in path.read_text())
WORKFLOWS = Path("docs/workflows.md").read_text()
JOB = yaml.safe_load((DEPLOY / "kustomize" / "base" / "job.yaml").read_text())


def documents(page: str) -> Iterator[dict[str, Any]]:
    """Yield every YAML document of a page."""
    for block in re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        yield from yaml.safe_load_all(block)


def of_page(kind: str) -> dict[str, Any]:
    """Return the one manifest of a kind in docs/workflows.md."""
    (found,) = of_kind([each for each in documents(WORKFLOWS) if "kind" in each], kind)
    return dict(found)


def require_same_pod(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """Fail unless a container that downloads, and the pod around it, are as the manifests of `deploy/` have them."""
    check_schema({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "page"}, "spec": pod})
    assert [each for each in violations(pod) if each.startswith("download: ")] == []
    assert dangling(pod) == set()
    assert set(variables({"containers": [container]})) <= known_variables()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_yaml_of_a_page_can_be_read(page: Path) -> None:
    assert all(isinstance(document, dict) for document in documents(page.read_text()))


def test_the_deployment_of_vllm_is_valid_and_its_download_is_restricted() -> None:
    deployment = of_page("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (download,), (server,) = pod["initContainers"], pod["containers"]

    check_schema(deployment)
    require_same_pod({**pod, "containers": [download, server], "initContainers": []}, download)
    assert variables({"containers": [download]})["TARGET_DIR"] == server["args"][1]


def test_the_workflow_of_argo_is_a_valid_pod_and_gives_up_where_no_retry_can_help() -> None:
    spec = of_page("Workflow")["spec"]
    (template,) = spec["templates"]
    container = {"name": "download", **template["container"]}
    given_up = re.search(r"not in (\[[\d, ]+\])", template["retryStrategy"]["expression"])

    pod = {"securityContext": spec["securityContext"], "volumes": spec["volumes"], "containers": [container]}
    require_same_pod(pod, container)
    assert given_up
    assert yaml.safe_load(given_up[1]) == JOB["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"]


def test_kueue_gets_suspended_jobs_with_the_name_of_a_queue(tmp_path: Path) -> None:
    (values,) = [each for each in documents(WORKFLOWS) if "kind" not in each]
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    (job,) = of_kind(helm("-f", str(tmp_path / "values.yaml")), "Job")

    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "downloads"
    (pod,) = pods([job])
    assert pod["containers"][0]["resources"]["requests"], "what Kueue counts"


def test_the_release_of_flux_has_values_that_the_chart_takes_and_the_chart_is_where_it_says(tmp_path: Path) -> None:
    release, repository = of_page("HelmRelease"), of_page("GitRepository")
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(release["spec"]["values"]))
    chart = release["spec"]["chart"]["spec"]

    manifests = helm("-f", str(tmp_path / "values.yaml"))
    assert len(of_kind(manifests, "Job")) == 1
    assert (DEPLOY.parent / chart["chart"] / "Chart.yaml").is_file()
    assert chart["sourceRef"] == {"kind": "GitRepository", "name": repository["metadata"]["name"]}


def test_the_values_of_the_page_on_kubernetes_render(tmp_path: Path) -> None:
    (values,) = [each for each in documents(Path("docs/kubernetes.md").read_text()) if "artifacts" in each]
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))

    assert len(of_kind(helm("-f", str(tmp_path / "values.yaml")), "Job")) == len(values["artifacts"])


def test_the_values_for_signed_models_choose_the_image_with_the_extras_and_mount_the_key(tmp_path: Path) -> None:
    page = list(documents(Path("docs/kubernetes.md").read_text()))
    (values,) = [each for each in page if "variant" in each.get("image", {})]
    (artifacts,) = [each for each in page if "artifacts" in each]
    image = {"image": {**artifacts["image"], **values["image"]}}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({**artifacts, **values, **image}))

    rendered = list(pods(helm("-f", str(tmp_path / "values.yaml"))))
    assert len(rendered) == 2 * len(artifacts["artifacts"])  # a Job and a test for each
    for pod in rendered:
        (container,) = pod["containers"]
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert container["image"].endswith("-full")
        assert variables(pod)["AIM_SIGNER_KEY"].startswith(f"{mounted['signer']}/")
        assert dangling(pod) == set()
        assert set(variables(pod)) <= known_variables()
