"""SIGTERM in every phase: the run ends soon, releases its lease, and says how to resume.

A run ends within ten seconds even where threads hang, because two grace periods give them up
(tests/runs/test_runner.py). Here these are so long that a thread which is not woken makes the test fail.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.command import PEOPLE, TIMEOUT, WITH_DEFAULT_SIGHUP, environment, finish, model, run, start
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Fault, Held, Silence, Stall, too_many_requests
from tests.waiting import AT_LAST, Stopwatch, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Watched
    from tests.servers.hub import Hub
    from tests.servers.pushgateway import Pushgateway

MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": Noise(24 * MIB, seed=41).bytes(),
    "model-00002-of-00002.safetensors": Noise(12 * MIB, seed=42).bytes(),
}
PROMISED = 10.0
"""Seconds from SIGTERM to the end of the process (docs/reliability.md)."""
AT_MOST = AT_LAST
"""The same on a busy machine, where this only shows what hangs."""
GRACES = """
from downloader import deadlines
deadlines.RUN_GRACE = deadlines.TRANSFER_GRACE = 600.0
"""

ONE_BOUND = """
from downloader import deadlines
deadlines.RUN_GRACE, deadlines.RUN_END = 1.0, 3.0
deadlines.SUMMARY_LAST = deadlines.SUMMARY_PUSH = deadlines.STATUS_TIMEOUT = 600.0
"""

PHASES: dict[str, tuple[str, str, Fault]] = {
    "asking for the commit": ("XET", "api", Silence()),
    "listing": ("XET", "tree", Stall()),
    "asking for a Xet token": ("XET", "token", Silence()),
    "asking Xet how a file is put together": ("XET", "cas", Silence()),
    "reading from Xet": ("XET", "xorb", Stall(after=MIB)),
    "being sent to the file": ("HF_TRANSFER", "resolve", Silence()),
    "reading ranges": ("HF_TRANSFER", "cdn", Stall(after=MIB)),
    "reading a stream": ("HTTP", "cdn", Stall(after=MIB)),
    "sitting out a pause": ("HF_TRANSFER", "cdn", too_many_requests("300")),
}


@pytest.fixture
def patient(tmp_path: Path) -> dict[str, str]:
    """Timeouts so long that only a signal ends a run."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/sitecustomize.py").write_text(GRACES)
    return {"PYTHONPATH": str(tmp_path / "lib"), "STALL_TIMEOUT": "600", "AIM_LEASE_TTL": "600"}


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_ends_soon_while(phase: str, stocked: Hub, patient: dict[str, str], tmp_path: Path) -> None:
    protocol, route, fault = PHASES[phase]
    stocked.faults.add(fault, route=route, times=FOREVER)
    target = tmp_path / "target"
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol, "HF_HOME": str(tmp_path / "h")}
    process = start("download", "hf://org/model", target, extra={**extra, **patient})
    assert eventually(lambda: bool(stocked.log.records(route)))
    time.sleep(0.2)
    signalled = Stopwatch()
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.status == 143, result.stderr
    assert signalled.undisturbed < PROMISED
    assert signalled.seconds < AT_MOST
    assert "resume" in result.last_line
    assert not list(target.glob(".downloading/lease*"))
    assert not list(tmp_path.glob("h/*"))
    stocked.faults.clear()
    assert run("download", "hf://org/model", target, extra=extra).status == 0
    assert model(target) == FILES


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Path]:
    """A volume that another process holds."""
    target = tmp_path / "held"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.lease.holder", str(target), "600"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ok\n"
        yield target
        process.kill()


def test_a_run_ends_soon_while_it_waits_for_the_volume(
    stocked: Hub, holder: Path, watched: Watched, patient: dict[str, str]
) -> None:
    extra = {**watched.environment, "HF_ENDPOINT": stocked.endpoint, **patient}
    process = start("download", "hf://org/model", holder, extra=extra)
    watched.wait_for_message("waiting for process")
    signalled = Stopwatch()
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.status == 143, result.stderr
    assert signalled.undisturbed < PROMISED
    assert signalled.seconds < AT_MOST
    assert "SIGTERM" in watched.status["download"]["message"]
    assert len(list(holder.glob(".downloading/lease*"))) == 1


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_during_the_first_moments_ends_the_process_with_its_status(signum: int, status: int) -> None:
    probe = [sys.executable, "-c", PROBE.format(signum=int(signum))]
    seen = subprocess.run(probe, env=environment(), capture_output=True, check=False)
    assert (seen.returncode, seen.stdout, seen.stderr) == (status, b"", b"")


PROBE = """
import os, sys
from importlib.abc import MetaPathFinder
class Interrupting(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "click":
            os.kill(os.getpid(), {signum})
sys.meta_path.insert(0, Interrupting())
from downloader.__main__ import main
main()
"""
"""Sends a signal while the command line's library is imported."""


def test_an_end_that_hangs_everywhere_has_one_bound(
    stocked: Hub, watched: Watched, pushgateway: Pushgateway, tmp_path: Path
) -> None:
    """The engine hangs in the volume, the API server and the Pushgateway do not answer: each could take ten minutes."""
    (tmp_path / "sitecustomize.py").write_text(ONE_BOUND)
    pushgateway.faults.add(Silence(), times=FOREVER)
    extra = {**watched.environment, "HF_ENDPOINT": stocked.endpoint, "DU_TIMEOUT": "0.2", "STALL_TIMEOUT": "600"}
    extra["PYTHONPATH"] = str(tmp_path)
    module = ["tests.slow_volume", "600", "1"]
    options = ["--pushgateway", pushgateway.url, "--report", str(tmp_path / "report.json")]
    process = start("download", "hf://org/model", tmp_path / "t", *options, extra=extra, module=module)
    watched.api.wait_for(lambda: "has not answered" in str(watched.status.get("progress", {}).get("message")))
    watched.api.hang()
    signalled = Stopwatch()
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.status == 143, result.stderr
    assert signalled.seconds < AT_MOST
    assert "the metrics were not sent to" in result.stderr
    assert json.loads((tmp_path / "report.json").read_text())["outcome"]["exit_status"] == 143
    assert "resume" in result.last_line


def test_a_second_signal_ends_the_process_at_once(stocked: Hub, patient: dict[str, str], tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint, **patient}
    module = ["tests.slow_volume", "600", "1"]
    process = start("download", "hf://org/model", tmp_path / "t", extra=extra, module=module)
    assert process.stderr is not None
    assert "listing" in process.stderr.readline()  # from now on its engine hangs in the volume
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None

    def ended() -> bool:
        process.send_signal(signal.SIGTERM)  # the first may still be on its way, and two of a kind arrive as one
        return process.poll() is not None

    assert eventually(ended)
    result = finish(process)
    assert result.status == 143
    assert result.last_line == "failed: ended at once by a second SIGTERM (run the same command again to resume)"


def test_a_terminal_that_is_closed_ends_the_run_in_order(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(Stall(after=MIB), route="cdn", times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP", "STALL_TIMEOUT": "600", **PEOPLE}
    command = [sys.executable, "-m", "downloader", "download", "hf://org/model", str(tmp_path / "t")]
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*WITH_DEFAULT_SIGHUP, "setsid", "--ctty", *command, "--report", str(tmp_path / "report.json")],
        env=environment(extra),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        assert eventually(lambda: bool(stocked.log.records("cdn")))
    finally:
        os.close(ours)
    try:
        assert process.wait(TIMEOUT) == 129
    finally:
        process.kill()
        process.wait()
    assert json.loads((tmp_path / "report.json").read_bytes())["outcome"]["exit_status"] == 129
    assert not list((tmp_path / "t").glob(".downloading/lease*"))


def test_under_nohup_a_closed_terminal_ends_nothing(stocked: Hub, tmp_path: Path) -> None:
    held = Held()
    stocked.faults.add(held, route="cdn", times=FOREVER)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP", "STALL_TIMEOUT": "600"}
    process = start("download", "hf://org/model", tmp_path / "t", extra=extra, through=["nohup"])
    try:
        assert eventually(lambda: bool(stocked.log.records("cdn")))
        process.send_signal(signal.SIGHUP)
    finally:
        held.go_on.set()
    assert finish(process).status == 0
    assert model(tmp_path / "t") == FILES
