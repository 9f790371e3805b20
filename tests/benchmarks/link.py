"""A long way to the server: a network namespace behind two TUN devices and a relay that delays and shapes.

Root only. No netem is needed. Clients run in the namespace, servers outside of it listen at `SERVER` too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Self

from tests.benchmarks.peers import find, program

SERVER = "198.18.0.1"
"""Of the network that is set aside for benchmarks (RFC 2544)."""
_CLIENT = "198.18.0.2"
_MTU = "9000"
"""Bytes: jumbo frames, so that a relay in Python keeps up with 1 Gbit/s."""


class LinkError(RuntimeError):
    """The machine does not let us make a link; the message says why."""


class Link:
    """An emulated link; `prefix` runs a command at its far end."""

    def __init__(self, delay: float, rate: float) -> None:
        """`delay` is seconds each way, `rate` bytes per second each way. Raises LinkError."""
        if not find_ip():
            raise LinkError("the program ip is missing (package iproute2)")
        self._name = f"bench{os.getpid() % 100_000}"
        near, far = f"{self._name}s", f"{self._name}c"
        self.prefix = (find_ip(), "netns", "exec", self._name)
        command = program("relay", near, far, str(delay), str(rate), python=sys.executable)
        self._relay = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            self._connect(near, far)
        except LinkError:
            self.close()
            raise

    def close(self) -> None:
        self._relay.terminate()
        self._relay.communicate()
        subprocess.run([find_ip() or "false", "netns", "delete", self._name], capture_output=True, check=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, near: str, far: str) -> None:
        assert self._relay.stdout is not None
        assert self._relay.stderr is not None
        if self._relay.stdout.readline().strip() != "ready":
            raise LinkError(f"no TUN devices: {self._relay.stderr.read().strip().rpartition(chr(10))[2]}")
        _ip("netns", "add", self._name)
        _ip("link", "set", far, "netns", self._name)
        _ip("address", "add", SERVER, "peer", _CLIENT, "dev", near)
        _ip("link", "set", near, "mtu", _MTU, "up")
        inside = ("-netns", self._name)
        _ip(*inside, "address", "add", _CLIENT, "peer", SERVER, "dev", far)
        _ip(*inside, "link", "set", far, "mtu", _MTU, "up")
        _ip(*inside, "link", "set", "lo", "up")


def find_ip() -> str:
    """Return where the program ip is, nothing if it is not installed."""
    return find("ip") or next((path for path in ("/usr/sbin/ip", "/sbin/ip") if os.access(path, os.X_OK)), "")


def _ip(*arguments: str) -> None:
    result = subprocess.run([find_ip(), *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise LinkError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
