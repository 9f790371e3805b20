"""The manifests of docs/kubernetes.md do what the page says."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from downloader import deadlines, errors
from downloader.config import Settings
from downloader.config.env import documented
from downloader.errors import Category, DownloadError
from downloader.reporters.kubernetes import ClusterAccess, KubernetesReporter
from tests.contract.status_runs import DONE
from tests.servers.certificates import Authority
from tests.servers.kubernetes import KubernetesServer, artifact_crd, artifact_rbac
from tests.servers.kubernetes_pod import Pod

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "kubernetes.md").read_text()
KUSTOMIZE = Path(__file__).parents[2] / "deploy" / "kustomize"
NAMESPACE = "models"
RBAC = list(yaml.safe_load_all((KUSTOMIZE / "components" / "status" / "rbac.yaml").read_text()))
ACCOUNT, ROLE, BINDING = RBAC
JOB = yaml.safe_load((KUSTOMIZE / "base" / "job.yaml").read_text())
POD = JOB["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def exit_codes() -> list[int]:
    ignored, failing = JOB["spec"]["podFailurePolicy"]["rules"]
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert (failing["action"], failing["onExitCodes"]["operator"]) == ("FailJob", "In")
    values: list[int] = failing["onExitCodes"]["values"]
    return values


def error_classes() -> list[type[DownloadError]]:
    return [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DownloadError)]


def known_variables() -> Iterator[str]:
    for settings in dataclasses.fields(Settings):
        section = getattr(Settings(), settings.name)
        if dataclasses.is_dataclass(section):
            for _, variable in documented(type(section)):
                yield from variable.names


def test_the_role_grants_what_the_operator_grants_and_nothing_more() -> None:
    granted, _ = artifact_rbac()

    assert ROLE["rules"] == granted["rules"]


def test_the_pod_can_write_its_status_with_these_permissions(tmp_path: Path) -> None:
    subject = BINDING["subjects"][0] | {"namespace": NAMESPACE}
    binding = BINDING | {"metadata": BINDING["metadata"] | {"namespace": NAMESPACE}, "subjects": [subject]}
    with KubernetesServer(Authority(tmp_path / "authority"), rbac=[ROLE, binding]) as server:
        server.create_artifact(NAMESPACE, "model")
        pod = Pod(server, tmp_path / "serviceaccount", account=ACCOUNT["metadata"]["name"])
        access = ClusterAccess(
            host=server.host,
            port=server.port,
            namespace=NAMESPACE,
            name="model",
            service_account=pod.service_account,
        )
        KubernetesReporter(access).close(DONE)

        assert server.artifact(NAMESPACE, "model")["status"]["progress"]["percentage"] == 100


def test_the_job_gives_up_at_once_only_where_no_retry_can_help() -> None:
    failing = exit_codes()
    for code in failing:
        kinds = [kind for kind in error_classes() if kind is not DownloadError and kind.exit_status == code]
        assert kinds, f"no error ends with {code}"
        assert all(kind.lasting for kind in kinds)
    told = {kind.exit_status for kind in error_classes() if kind.category is not Category.OTHER}
    assert told <= set(failing), "what the operator files as the user's fault is not tried again"


def test_the_policy_is_the_one_that_the_page_on_exit_statuses_shows() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "exit-status.md").read_text(), re.DOTALL)

    assert yaml.safe_load(shown)["spec"]["podFailurePolicy"] == JOB["spec"]["podFailurePolicy"]
    assert f"({', '.join(map(str, exit_codes()))}:" in PAGE


def test_the_pod_writes_only_to_the_target_and_to_scratch() -> None:
    target = next(entry["value"] for entry in CONTAINER["env"] if entry["name"] == "TARGET_DIR")
    scratch = next(volume["name"] for volume in POD["volumes"] if "emptyDir" in volume)

    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]} == {
        target: "model",
        "/tmp": scratch,  # noqa: S108
    }


def test_the_job_restarts_no_container_and_leaves_time_to_close_the_journal() -> None:
    assert POD["restartPolicy"] == "Never"
    assert POD["terminationGracePeriodSeconds"] >= 30


def test_every_variable_of_the_job_is_one_that_is_read() -> None:
    assert {entry["name"] for entry in CONTAINER["env"]} <= set(known_variables())


def test_the_page_names_every_field_of_the_status_and_no_other() -> None:
    schema = artifact_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    fields = {f"status.{part}.{name}" for part in ("progress", "download") for name in schema[part]["properties"]}

    assert set(re.findall(r"^\| `(status\.[a-zA-Z.]+)` \|", PAGE, re.MULTILINE)) == fields


def test_the_page_tells_the_pauses_that_are_kept() -> None:
    def minutes(seconds: float) -> str:
        return f"{seconds / 60:g}"

    first, longest = (minutes(seconds) for seconds in deadlines.STATUS_REJECTED_PAUSES)
    facts: list[Any] = [
        f"within {deadlines.STATUS_MESSAGE_GAP:g} seconds of the write before",
        f"(default {ClusterAccess.__dataclass_fields__['interval'].default:g}) seconds",
        f"after {deadlines.STATUS_FIRST_PAUSE:g}, 2, 4 … {deadlines.STATUS_MAX_PAUSE:g} seconds",
        f"after {first}, 2, 4 … {longest} minutes",
        f"timeout after {deadlines.STATUS_TIMEOUT:g} seconds",
        f"tried for {deadlines.STATUS_TIMEOUT:g} seconds",
    ]

    assert [fact for fact in facts if fact not in PAGE] == []
