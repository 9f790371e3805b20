"""A container engine of our own: Debian's dockerd, on a socket and in folders that are gone afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.servers.closable import Closable
from tests.servers.process import SEARCH_PATH, Child, find_program

ALONE = ("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none")
"""It leaves the machine's network as it is: a container has the host's, or none."""
CLIENT_PATH = f"/usr/bin:{SEARCH_PATH}"
"""Debian's client first: it has BuildKit built in, where others want a plugin."""


class DockerFailed(RuntimeError):
    """The command `docker` ended with an error; the message has its words."""


class Docker:
    """The command `docker`, speaking to one engine."""

    def __init__(self, host: str) -> None:
        """`host` is the engine's address, such as unix:///path."""
        self.host = host

    def __call__(self, *arguments: str, timeout: float = 60) -> str:
        """Run it; return what it says on stdout. Raises DockerFailed."""
        done = self.run(*arguments, timeout=timeout)
        if done.returncode:
            raise DockerFailed(f"docker {arguments[0]} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def run(self, *arguments: str, timeout: float = 60, merged: bool = False) -> subprocess.CompletedProcess[str]:
        """Run it, however it ends; `merged` sends its stderr where its stdout goes."""
        return subprocess.run(
            ["docker", *arguments],
            env={"PATH": CLIENT_PATH, "HOME": "/nonexistent", "DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )


class Engine(Closable):
    """A running dockerd. `docker` is the client for it."""

    def __init__(self, folder: Path) -> None:
        """Start it; `folder` takes all that it writes."""
        self._folder = folder
        self.docker = Docker(f"unix://{folder / 'docker.sock'}")
        places = {"host": self.docker.host, "pidfile": folder / "pid"}
        places |= {"data-root": folder / "data", "exec-root": folder / "exec"}
        options = [f"--{name}={place}" for name, place in places.items()]
        self._daemon = Child([find_program("dockerd", "docker.io"), *options, *ALONE], folder=folder)
        self._daemon.wait_until(lambda: self.docker.run("version").returncode == 0)

    def close(self) -> None:
        """End it, by its process id, and what it leaves mounted."""
        self._daemon.close(timeout=30)
        for line in Path("/proc/mounts").read_text().splitlines():
            place = line.split()[1]
            if place.startswith(f"{self._folder}/"):
                subprocess.run(["umount", "--lazy", place], env={"PATH": SEARCH_PATH}, check=True)
