"""One Ceph for all processes of a parallel run: the first that needs it starts it, and it ends with the last of them.

    python -m tests.servers.shared FOLDER     # what the first one starts

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

from tests.servers.ceph import Ceph
from tests.servers.s3 import Account, S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 240
"""Seconds; the suite's limit for one test is above it."""


class JoinedCeph(S3Server):
    """A Ceph that another process keeps."""

    anonymous_buckets = Ceph.anonymous_buckets
    keeps_versions = Ceph.keeps_versions

    def __init__(self, facts: Path) -> None:
        told = json.loads(facts.read_text())
        self.endpoint = told["endpoint"]
        self.account = Account(**told["account"])
        self.stranger = Account(**told["stranger"])

    def stop(self) -> None:
        """Leave it to its keeper."""


@contextlib.contextmanager
def shared_ceph(folder: Path) -> Iterator[S3Server]:
    """Use the Ceph of this folder, which all processes of a run must name alike."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = folder / "facts.json"
    with (folder / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with (folder / "starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not facts.exists():
                _start_keeper(folder, facts)
        with JoinedCeph(facts) as server:
            yield server


def _start_keeper(folder: Path, facts: Path) -> None:
    log = folder / "keeper.log"
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "tests.servers.shared", str(folder)],
        {"PATH": os.environ["PATH"], "HOME": str(folder)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    deadline = time.monotonic() + TIMEOUT
    while not facts.exists():
        if os.waitpid(pid, os.WNOHANG)[0] or time.monotonic() > deadline:
            raise RuntimeError(f"Ceph did not start: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def keep(folder: Path) -> None:
    """Start Ceph, tell where it is, and end it when no process uses it any more."""
    facts, draft = folder / "facts.json", folder / "facts.draft"
    with (folder / "users").open() as users, Ceph(folder / f"ceph-{os.getpid()}") as server:
        accounts = {"account": asdict(server.account), "stranger": asdict(server.stranger or server.account)}
        draft.write_text(json.dumps({"endpoint": server.endpoint, **accounts}))
        draft.rename(facts)
        fcntl.flock(users, fcntl.LOCK_EX)
        facts.unlink()


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
