"""Nodes on each of the distributed file systems, and a Hub with a model."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests import traces
from tests.distributed.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.hub import Hub


@pytest.fixture
def stocked(hub: Hub, request: pytest.FixtureRequest) -> Hub:
    """A Hub that has the FILES of the test's module in org/model."""
    hub.create("org/model").commit(request.module.FILES)
    return hub


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.root) for kind in ("glusterfs", "cephfs")])
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nodes]:
    """A maker of nodes, with a folder of this test's own on a distributed file system."""
    with Nodes(request.getfixturevalue(request.param), tmp_path, secrets.token_hex(8)) as maker:
        traces.call(maker.state)
        yield maker
