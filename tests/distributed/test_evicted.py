"""A node that the cluster has evicted: what it had written and not yet sent is gone."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from downloader.errors import VolumeError
from downloader.filesystem import Disk
from tests.distributed.nodes import Nodes
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.ceph import CephFS

PIECE = bytes(range(256)) * 16
MOST = 1000
"""Different pieces: together fewer bytes than the client keeps before it sends any."""


@pytest.mark.root
def test_a_sync_fails_on_a_node_that_was_evicted(cephfs: CephFS, tmp_path: Path) -> None:
    """Its fsync succeeds, since nothing is left to be sent: only closing a handle reports the loss."""
    with Nodes(cephfs, tmp_path, "evicted") as nodes:
        node = nodes()
        with Disk(node.volume) as disk:
            handle = disk.create("model.bin")
            disk.truncate(handle, MOST * len(PIECE))
            disk.sync(handle)
            written = 0

            def refused() -> bool:
                nonlocal written
                try:
                    disk.write(handle, written % MOST * len(PIECE), PIECE)
                except VolumeError:
                    return True
                written += 1
                return False

            with _evicting(cephfs, node.mount.place):
                assert eventually(refused)
            assert written, "nothing was written that could be lost"
            with pytest.raises(VolumeError, match="syncing a file"):
                disk.sync(handle)
            with suppress(VolumeError):
                disk.close(handle)


@contextmanager
def _evicting(cephfs: CephFS, place: Path) -> Iterator[None]:
    """Evict the client of a mount meanwhile."""
    asking = ["ceph", "-c", cephfs.facts, "tell", "mds.a", "session"]
    listed = subprocess.run([*asking, "ls"], check=True, capture_output=True, text=True, timeout=120).stdout
    (client,) = (it["id"] for it in json.loads(listed) if it["client_metadata"].get("mount_point") == str(place))
    with subprocess.Popen([*asking, "evict", f"id={client}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as it:
        yield
        _, said = it.communicate(timeout=120)
        assert it.returncode == 0, said
