"""Moments of a run, and what the tests of its status do with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from downloader.artifact import TransferProtocol
from downloader.progress import Phase, Snapshot
from downloader.reporters.kubernetes import ClusterAccess, KubernetesReporter
from downloader.reporters.kubernetes.throttle import PatchThrottle
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from tests.servers.kubernetes import KubernetesServer

GIB = 1 << 30
LISTING = Snapshot()
DOWNLOADING = Snapshot(
    phase=Phase.DOWNLOADING,
    total_bytes=4 * GIB,
    done_bytes=GIB,
    protocol=TransferProtocol.XET,
    attempt=1,
    sequence=(TransferProtocol.XET, TransferProtocol.HTTP),
    rate=256 * (1 << 20),
    eta=12.0,
)
VERIFYING = replace(DOWNLOADING, phase=Phase.VERIFYING, done_bytes=4 * GIB, rate=0.0, eta=None)
DONE = replace(VERIFYING, phase=Phase.DONE)
FAILED = replace(LISTING, phase=Phase.FAILED, message="over")
NUMBERS = [replace(DOWNLOADING, done_bytes=GIB + step) for step in range(1, 200)]
"""Snapshots in which nothing but numbers changes."""


def report_to(access: ClusterAccess, timeout: float = AT_LAST) -> KubernetesReporter:
    """Return a reporter that waits shorter than in earnest after the first error, and longer for an answer."""
    return KubernetesReporter(access, throttle=PatchThrottle(access.interval, first_pause=0.1), timeout=timeout)


def wait(api: KubernetesServer, **expected: Any) -> None:
    api.wait_for_status("models", "llama", expected)


def statuses(api: KubernetesServer) -> list[int | None]:
    return [exchange.status for exchange in api.exchanges]
