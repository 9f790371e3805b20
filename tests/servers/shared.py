"""One server for all processes of a parallel run: the first that needs it starts it, and it ends with the last of them.

    python -m tests.servers.shared ceph FOLDER     # what the first one starts

A lock file counts the users, so a process that is killed stops counting, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.ceph import FILE_SYSTEM_PROGRAMS, Ceph, CephFS
from tests.servers.glusterfs import GlusterFS, JoinedGlusterFS
from tests.servers.mounts import missing_packages
from tests.servers.s3 import Account, S3Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUT = 240
"""Seconds; the suite's limit for one test is above it."""


class JoinedCeph(S3Server):
    """A Ceph that another process keeps."""

    anonymous_buckets = Ceph.anonymous_buckets
    keeps_versions = Ceph.keeps_versions

    def __init__(self, facts: str) -> None:
        told = json.loads(facts)
        self.endpoint = told["endpoint"]
        self.account = Account(**told["account"])
        self.stranger = Account(**told["stranger"])

    def stop(self) -> None:
        """Leave it to its keeper."""


@contextlib.contextmanager
def shared_ceph(folder: Path) -> Iterator[S3Server]:
    """Use the gateway of this folder's Ceph; all processes of a run must name the folder alike."""
    with _shared("ceph", folder) as tell, JoinedCeph(tell("gateway")) as server:
        yield server


@contextlib.contextmanager
def shared_cephfs(folder: Path) -> Iterator[CephFS]:
    """Use the file system of the same Ceph, which is up a few seconds after the gateway."""
    with _shared("ceph", folder) as tell:
        yield CephFS(tell("files"))


@contextlib.contextmanager
def shared_glusterfs(folder: Path) -> Iterator[JoinedGlusterFS]:
    """Use the GlusterFS of this folder; all processes of a run must name it alike."""
    with _shared("glusterfs", folder) as tell:
        yield JoinedGlusterFS(tell("files"))


@contextlib.contextmanager
def _shared(kind: str, folder: Path) -> Iterator[Callable[[str], str]]:
    """Give a function that waits for one of the facts that the keeper tells, and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with (folder / "starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not (folder / "keeper").exists():
                _start_keeper(kind, folder)
        yield lambda fact: _told(folder, fact)


def _start_keeper(kind: str, folder: Path) -> None:
    log = folder / "keeper.log"
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "tests.servers.shared", kind, str(folder)],
        {"PATH": os.environ["PATH"], "HOME": str(folder)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    (folder / "keeper").write_text(str(pid))


def _told(folder: Path, fact: str) -> str:
    deadline = time.monotonic() + TIMEOUT
    while not (folder / fact).exists():
        if (folder / "failed").exists() or time.monotonic() > deadline:
            raise RuntimeError(f"it did not start: {(folder / 'keeper.log').read_text()[-2000:]}")
        time.sleep(0.05)
    return (folder / fact).read_text()


def _start_ceph(stack: contextlib.ExitStack, folder: Path) -> Iterator[tuple[str, str]]:
    """Start Ceph for as long as the stack lasts; give each fact about it as soon as it is true."""
    server = stack.enter_context(Ceph(folder))
    accounts = {"account": asdict(server.account), "stranger": asdict(server.stranger or server.account)}
    yield "gateway", json.dumps({"endpoint": server.endpoint, **accounts})
    if not missing_packages(FILE_SYSTEM_PROGRAMS):
        yield "files", server.add_file_system().facts


def _start_glusterfs(stack: contextlib.ExitStack, folder: Path) -> Iterator[tuple[str, str]]:
    """Do the same with GlusterFS."""
    yield "files", stack.enter_context(GlusterFS(folder)).facts


def keep(kind: str, folder: Path) -> None:
    """Start a server, tell about it, and end it when no process uses it any more."""
    start = {"ceph": _start_ceph, "glusterfs": _start_glusterfs}[kind]
    with (folder / "users").open() as users, contextlib.ExitStack() as stack:
        told = [folder / "keeper"]
        for name, fact in start(stack, folder / f"{kind}-{os.getpid()}"):
            draft = folder / f"{name}.draft"
            draft.write_text(fact)
            told.append(draft.rename(folder / name))
        fcntl.flock(users, fcntl.LOCK_EX)
        for file in told:
            file.unlink()


if __name__ == "__main__":
    try:
        keep(sys.argv[1], Path(sys.argv[2]))
    except BaseException:
        (Path(sys.argv[2]) / "failed").touch()
        raise
