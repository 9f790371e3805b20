"""KServe's ClusterStorageContainer: the page shows the file, and its container is one that Kubernetes takes."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.deploy.manifests import DEPLOY, check_schema, violations

MANIFEST = yaml.safe_load((DEPLOY / "kserve" / "cluster-storage-container.yaml").read_text())
PAGE = (DEPLOY.parent / "docs" / "kserve.md").read_text()


def test_the_page_shows_the_manifest() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

    assert yaml.safe_load(shown) == MANIFEST


def test_the_container_is_valid_and_restricted_but_for_what_the_pod_sets() -> None:
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "predictor"},
        "spec": {"containers": [MANIFEST["spec"]["container"]]},
    }
    check_schema(pod)

    assert violations(pod["spec"]) == ["storage-initializer: seccompProfile"]
