"""Two at once, for real: killed, frozen, waited for, contending."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.lease.process_id import ProcessIdentity
from downloader.volume import FileState, Volume
from tests.command import TIMEOUT
from tests.lease.contest import FILES, ROOT, another
from tests.lease.holder import DATA, HALF, PATH
from tests.needs import PRIVILEGES, able
from tests.volume.artifacts import URI, download, fill, manifest_of, states
from tests.waiting import Stopwatch

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_a_killed_holder_is_replaced_at_once_and_its_bytes_are_kept(tmp_path: Path) -> None:
    with another(tmp_path, 3600) as other:
        assert other.do("first half") == "ok"
        other.signal(signal.SIGKILL)
        other.process.wait()
        waits: list[str] = []
        volume = Volume(tmp_path, ttl=3600, journal_above=1 << 20)
        with volume.lease(URI, waiting=lambda holder, _: waits.append(holder)):
            assert fill(volume, manifest_of(FILES).files[0], DATA) == len(DATA) - HALF
    assert waits == []
    assert (tmp_path / PATH).read_bytes() == DATA


def test_a_killed_holder_that_is_a_zombie_is_replaced_at_once(tmp_path: Path) -> None:
    with another(tmp_path, 3600) as other:
        other.signal(signal.SIGKILL)
        os.waitid(os.P_PID, other.process.pid, os.WEXITED | os.WNOWAIT)
        with Volume(tmp_path, ttl=3600).lease(URI, waiting=lambda *_: pytest.fail("it waited for a zombie")):
            pass


def test_a_holder_killed_in_another_container_is_replaced_after_its_time(tmp_path: Path) -> None:
    """Its process cannot be seen from here, only that its lease does not change any more."""
    container = ["unshare", "--pid", "--fork", "--kill-child"]
    able(*container, "true", get=PRIVILEGES)
    with another(tmp_path, 0.6, container) as other:
        assert other.do("first half") == "ok"
        other.signal(signal.SIGKILL)
        other.process.wait()
        waits: list[float] = []
        volume = Volume(tmp_path, ttl=0.6, journal_above=1 << 20)
        began = Stopwatch()
        with volume.lease(URI, waiting=lambda _, quiet: waits.append(quiet)):
            assert began.seconds >= 0.6
            assert fill(volume, manifest_of(FILES).files[0], DATA) == len(DATA) - HALF
    assert max(waits) < 0.6


def test_a_frozen_holder_is_replaced_and_can_publish_nothing_when_it_wakes(tmp_path: Path) -> None:
    with another(tmp_path, 0.6) as other:
        assert other.do("first half") == "ok"
        other.signal(signal.SIGSTOP)
        volume = Volume(tmp_path, ttl=0.6, journal_above=1 << 20)
        waits: list[str] = []
        with volume.lease(URI, waiting=lambda holder, _: waits.append(holder)):
            assert states(volume.inventory(manifest_of(FILES))) == {PATH: FileState.PARTIAL}
            other.signal(signal.SIGCONT)
            assert other.do("second half") == "LeaseLost"
            assert other.do("commit") in ("LeaseLost", "InternalError")
            assert other.do("publish") == "LeaseLost"
            assert [path.name for path in tmp_path.iterdir()] == [".downloading"]
            assert fill(volume, manifest_of(FILES).files[0], DATA) == len(DATA) - HALF
            assert other.do("publish") == "LeaseLost"
            volume.check_lease()
    assert str(other.process.pid) in waits[0]
    assert URI in waits[0]


def test_a_living_holder_is_waited_for_however_long_it_takes(tmp_path: Path) -> None:
    ttl = 3.0
    with another(tmp_path, ttl) as other:
        waits: list[float] = []

        def waiting(holder: str, quiet: float) -> None:
            assert str(other.process.pid) in holder
            waits.append(quiet)
            if len(waits) == 15:  # with twelve looks per time to live
                assert other.process.stdin is not None
                other.process.stdin.close()

        started = time.monotonic()
        with Volume(tmp_path, ttl=ttl).lease(URI, waiting=waiting):
            assert len(waits) >= 15
        assert time.monotonic() - started > ttl
        assert max(waits) < ttl


def test_the_second_run_waits_and_then_finds_everything_done(tmp_path: Path) -> None:
    with another(tmp_path, 5) as other:
        assert [other.do(deed) for deed in ("first half", "second half", "commit", "publish")] == ["ok"] * 4
        assert other.process.stdin is not None
        other.process.stdin.close()
        assert download(Volume(tmp_path, ttl=5), FILES) == 0


def test_of_many_acquirers_one_holds_the_lease_at_a_time(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.lease.acquirer", str(tmp_path), "12"]
    acquirers = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [acquirer.wait(TIMEOUT) for acquirer in acquirers] == [0] * 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["host", "boot", "namespace"])
def test_a_process_that_cannot_be_seen_from_here_is_never_said_to_be_gone(part: str) -> None:
    gone = replace(ProcessIdentity.current(), pid=2**22 + 1)
    assert gone.is_gone()
    assert not replace(gone, **{part: 1 if part == "namespace" else "other"}).is_gone()  # type: ignore[arg-type]
    assert not replace(gone, **{part: 0 if part == "namespace" else ""}).is_gone()  # type: ignore[arg-type]


def test_a_process_that_is_hidden_from_us_is_not_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some systems show users only their own processes in /proc."""
    child = subprocess.Popen(["sleep", "60"])
    holder = replace(ProcessIdentity.current(), pid=child.pid, started="12345")
    try:
        hidden = tmp_path / "proc"
        for part in ("self", "sys"):
            (hidden / part).parent.mkdir(exist_ok=True)
            (hidden / part).symlink_to(f"/proc/{part}")
        monkeypatch.setattr("downloader.lease.process_id._PROC", hidden)
        assert not holder.is_gone()
    finally:
        child.kill()
        child.wait()
    assert holder.is_gone()


def test_another_process_under_the_same_pid_is_not_the_holder() -> None:
    assert not ProcessIdentity.current().is_gone()
    assert replace(ProcessIdentity.current(), started="1").is_gone()


@pytest.mark.root
def test_a_process_whose_clock_began_at_another_time_is_not_said_to_be_gone() -> None:
    """In another time namespace the kernel shows another start time of the same process."""
    shifted = ["unshare", "--time", "--boottime", "50000", "--fork"]
    able(*shifted, "true", get=PRIVILEGES)
    fields = json.dumps(ProcessIdentity.current().fields())
    look = "import json, sys; from downloader.lease import ProcessIdentity as P"
    look += "; sys.exit(P.parse(json.loads(sys.argv[1])).is_gone())"
    assert subprocess.run([*shifted, sys.executable, "-c", look, fields], check=False).returncode == 0
    assert subprocess.run([sys.executable, "-c", look, fields], check=False).returncode == 0
