"""Mounts of a distributed file system: each is what one node sees of it, with a client and a cache of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Protocol

from tests.needs import PRIVILEGES
from tests.servers.closable import Closable
from tests.servers.process import SEARCH_PATH, Child

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Distributed(Protocol):
    """A distributed file system that runs."""

    def mounting(self, place: Path) -> Sequence[str]:
        """Return the command that mounts it at an empty folder and serves the mount until it is unmounted."""


def unable_to_mount(programs: Mapping[str, str]) -> str:
    """Return why these programs (name → Debian package) cannot serve mounts here; empty if they can."""
    if missing := missing_packages(programs):
        return f"apt-get install --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0:
        return "needs root, to mount: sudo .venv/bin/pytest"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs /dev/fuse: docker run --device /dev/fuse"
    apart = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if apart.returncode == 0:
        return ""
    return f"no namespaces can be made here ({apart.stderr.decode().strip()}): {PRIVILEGES}"


def missing_packages(programs: Mapping[str, str]) -> list[str]:
    """Return the Debian packages of those programs that are not installed."""
    return [package for name, package in programs.items() if shutil.which(name, path=SEARCH_PATH) is None]


class Mount(Closable):
    """A file system as one node has it, at a folder of that node."""

    def __init__(self, files: Distributed, place: Path) -> None:
        """Mount it at `place`, which must not exist; the client's log is beside it."""
        place.mkdir()
        log = place.with_name(f"{place.name}.client")
        log.mkdir()
        self.place = place
        self._client = Child(files.mounting(place), folder=log)
        self._client.wait_until(place.is_mount)

    def kill(self) -> None:
        """End the client as a node's death does: what it has not sent is lost, and the servers are not told."""
        os.kill(self._client.pid, signal.SIGKILL)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], check=False)
        self._client.close()
