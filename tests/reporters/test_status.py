"""Every snapshot makes a patch that the CRD takes whole."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from downloader.artifact import TransferProtocol
from downloader.progress import Phase, Snapshot
from downloader.reporters.kubernetes import ClusterAccess
from downloader.reporters.kubernetes.status import Figures, Status, status_of
from tests.command import TIMEOUT
from tests.servers.kubernetes import artifact_crd
from tests.servers.kubernetes_api import merge
from tests.servers.kubernetes_schema import Schema

SCHEMA = Schema(artifact_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
TOTAL = 1 << 50


def snapshots() -> st.SearchStrategy[Snapshot]:
    return st.builds(
        Snapshot,
        phase=st.sampled_from(Phase),
        total_bytes=st.integers(0, TOTAL),
        done_bytes=st.integers(0, TOTAL),
        protocol=st.none() | st.sampled_from(TransferProtocol),
        attempt=st.integers(0, 100),
        sequence=st.lists(st.sampled_from(TransferProtocol), max_size=5).map(tuple),
        rate=st.floats(0, 1e12),
        eta=st.none() | st.floats(0, 1e9),
        message=st.text(max_size=80),
        stuck_volume=st.text(max_size=80),
    )


def figures() -> st.SearchStrategy[Figures | None]:
    return st.none() | st.builds(Figures, st.integers(0, TOTAL), st.integers(0, TOTAL), st.integers(0, 100))


def shown(status: Status, earlier: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = merge(earlier, status.patch)
    return merged


@given(snapshots(), snapshots(), figures())
def test_every_patch_fits_the_crd_and_nothing_of_it_is_pruned(
    first: Snapshot, second: Snapshot, written: Figures | None
) -> None:
    before = status_of(first)
    thing = shown(status_of(second, before, shown=written), shown(before, {}))

    assert SCHEMA.problems(thing) == []
    assert SCHEMA.prune(thing) == (thing, [])


@given(snapshots())
def test_100_percent_mean_that_every_byte_is_there_and_nothing_else_does(snapshot: Snapshot) -> None:
    progress = status_of(snapshot).progress

    assert (progress["percentage"] == 100) == (snapshot.phase in {Phase.VERIFYING, Phase.DONE})
    assert progress["displayPercentage"] == f"{progress['percentage']} %"


@given(snapshots(), snapshots())
@example(Snapshot(stuck_volume="the volume has not answered for 9 s"), Snapshot(stuck_volume=" "))
@example(Snapshot(stuck_volume="the volume has not answered for 9 s"), Snapshot(stuck_volume="\x1f"))
def test_whatever_came_before_two_patches_tell_the_present_state_of_the_volume(
    first: Snapshot, second: Snapshot
) -> None:
    status = status_of(second, status_of(first))
    settled = shown(status_of(second, status), {})["status"]["progress"]

    running = second.phase not in {Phase.DONE, Phase.FAILED}
    assert ("message" in settled) == (running and bool(second.stuck_volume.strip()))


def test_an_ipv6_address_is_put_in_brackets() -> None:
    access = ClusterAccess(host="fd00::1", port=443, namespace="models", name="llama")

    assert access.url == "https://[fd00::1]:443"


def test_a_run_without_a_cluster_does_not_pay_for_the_kubernetes_package() -> None:
    program = "import sys, downloader.reporters.kubernetes; sys.exit('kubernetes' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=TIMEOUT).returncode == 0
