"""The command as process 1, which the kernel spares every signal that it has no handler for.

Each run gets a process namespace of its own, and the signal from outside of it, as a pod gets it from the kubelet.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import environment, finish, spawn
from tests.needs import PRIVILEGES, able
from tests.servers.faults import FOREVER, Silence
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.servers.hub import Hub

ROOT = Path(__file__).parents[2]
UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork", "--kill-child"]
MILLISECONDS = (0, 2, 5, 10, 20, 40, 60, 80, 100, 130, 160, 200, 250, 300, 400, 500, 600)
"""How long after the entrypoint's first line a signal comes. Before it, `env` needs a millisecond to hold them back."""


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    able(*UNSHARE, "true", get=PRIVILEGES)


def first_process(*arguments: str | Path, hub: Hub) -> subprocess.Popen[str]:
    """Start the image's entrypoint as process 1."""
    extra = {"HF_ENDPOINT": hub.endpoint, "STALL_TIMEOUT": "600", "PYTHONPATH": str(ROOT)}
    extra["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return spawn(*UNSHARE, ROOT / "entrypoint.sh", *arguments, env=environment(extra))


def pid_of(process: subprocess.Popen[str]) -> int:
    """Return the pid, as seen from here, of what is process 1 there, once it is past `unshare` and `env`."""
    found: list[int] = []

    def begun() -> bool:
        with suppress(OSError):
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                program = Path(f"/proc/{child}/cmdline").read_bytes().partition(b"\0")[0]
                if program and not program.endswith((b"unshare", b"env")):
                    found.append(int(child))
        return bool(found)

    assert eventually(begun)
    return found[0]


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_at_any_moment_ends_process_1(signum: int, status: int, hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({"config.json": b"{}"})
    hub.faults.add(Silence(), route="tree", times=FOREVER)
    moments = MILLISECONDS if signum == signal.SIGTERM else MILLISECONDS[::4]
    ended: dict[int, int | str] = dict.fromkeys(moments, "ran on")
    for after in moments:
        process = first_process("download", "hf://org/model", tmp_path, hub=hub)
        pid = pid_of(process)
        time.sleep(after / 1000)
        os.kill(pid, signum)
        with suppress(subprocess.TimeoutExpired):
            ended[after] = finish(process).status
    assert ended == dict.fromkeys(moments, status)


def test_what_process_1_starts_is_free_to_be_signalled(hub: Hub, tmp_path: Path) -> None:
    """Signals that are held back stay so in children: in the one for Xet they must not."""
    hub.create("org/model").commit({"model.safetensors": bytes(1 << 20)})
    hub.faults.add(Silence(), route="xorb", times=FOREVER)
    process = first_process("download", "hf://org/model", tmp_path, hub=hub)
    pid = pid_of(process)
    assert eventually(lambda: bool(hub.log.records("xorb")))
    family = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    for task in Path(f"/proc/{pid}/task").iterdir():
        family += map(int, (task / "children").read_text().split())
    assert len(set(family)) == 2
    for one in family:
        lines = Path(f"/proc/{one}/status").read_text().splitlines()
        blocked = int(next(line for line in lines if line.startswith("SigBlk")).split()[1], 16)
        assert not blocked & (1 << (signal.SIGTERM - 1) | 1 << (signal.SIGINT - 1))
    os.kill(pid, signal.SIGTERM)
    assert finish(process).status == 143
