"""Starting, awaiting and ending the servers that run as processes of their own."""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from tests.servers.closable import Closable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where Debian puts servers; sbin is not on every user's PATH."""

LOOPBACK = "127.0.0.1"


class MissingProgram(RuntimeError):
    """A server that the suite needs is not installed; the message names the package."""


def find_program(name: str, package: str) -> str:
    """Return the path of an installed program, or raise MissingProgram with the one line that helps."""
    found = shutil.which(name) or shutil.which(name, path=SEARCH_PATH)
    if found is None:
        raise MissingProgram(f"{name} is not installed: apt-get install --no-install-recommends {package}")
    return found


def free_port() -> int:
    """Return an unused loopback port, reserved until this process ends.

    A server can still listen on it with SO_REUSEADDR, which all servers set: Linux allows that while only one socket
    listens.
    """
    keeper = socket.socket()
    atexit.register(keeper.close)  # which also keeps the socket alive until then
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind((LOOPBACK, 0))
    port: int = keeper.getsockname()[1]
    return port


def listening(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server answers on this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


class Child(Closable):
    """A server process: started at once, awaited by `wait_until`, ended by its own process id."""

    def __init__(self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """`folder` becomes its working and home folder and takes its output; it sees nothing of our environment."""
        self.name = command[0].rpartition("/")[2]
        self.log = folder / f"{self.name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={"PATH": SEARCH_PATH, "HOME": str(folder), "LC_ALL": "C.UTF-8", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        """The process has ended by itself, or was ended."""
        return self._process.poll() is not None

    def wait_until(self, ready: Callable[[], bool], *, timeout: float = 120) -> None:
        """Return when `ready()` holds; raise with the end of the log if the process ends or `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.ended:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}: {self._last_output()}")
            if time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"{self.name} did not come up in {timeout:g} s: {self._last_output()}")
            time.sleep(0.01)

    def close(self, *, timeout: float = 10) -> None:
        """End the process; after `timeout` seconds by SIGKILL."""
        if not self.ended:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _last_output(self) -> str:
        return self.log.read_text(errors="replace")[-2000:].strip() or "it said nothing"
