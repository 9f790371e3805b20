"""A long way to the server: packets through TUN devices and a network namespace, or connections through a relay.

The first needs root and no netem. Clients run in the namespace, servers outside of it listen at `SERVER` too.
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


class _Relay:
    """One of our two relays, running; it says a line when it is ready."""

    def __init__(self, name: str, *arguments: str) -> None:
        command = program(name, *arguments, python=sys.executable)
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.said = self._process.stdout.readline().strip()

    def close(self) -> str:
        """End it; return the last line that it complained with."""
        self._process.terminate()
        _, complaint = self._process.communicate()
        return complaint.strip().rpartition("\n")[2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TcpRelay(_Relay):
    """A port at which a server seems to be far away."""

    def __init__(self, port: int, delay: float, rate: float) -> None:
        """`port` is the server's on loopback, `delay` seconds each way, `rate` bytes per second each way."""
        super().__init__("tcp_relay", str(port), str(delay), str(rate))
        self.host = f"127.0.0.1:{self.said}"


class Link(_Relay):
    """An emulated link; `prefix` runs a command at its far end."""

    def __init__(self, delay: float, rate: float) -> None:
        """`delay` is seconds each way, `rate` bytes per second each way. Raises LinkError."""
        if not _find_ip():
            raise LinkError("the program ip is missing (package iproute2)")
        self._name = f"bench{os.getpid() % 100_000}"
        near, far = f"{self._name}s", f"{self._name}c"
        super().__init__("packet_relay", near, far, str(delay), str(rate))
        self.prefix = (_find_ip(), "netns", "exec", self._name)
        if not self.said:
            raise LinkError(super().close())
        try:
            self._connect(near, far)
        except LinkError:
            self.close()
            raise

    def close(self) -> str:
        complaint = super().close()
        subprocess.run([_find_ip(), "netns", "delete", self._name], capture_output=True, check=False)
        return complaint

    def _connect(self, near: str, far: str) -> None:
        inside = ("-netns", self._name)
        _ip("netns", "add", self._name)
        _ip("link", "set", far, "netns", self._name)
        _ip("address", "add", SERVER, "peer", _CLIENT, "dev", near)
        _ip("link", "set", near, "mtu", _MTU, "up")
        _ip(*inside, "address", "add", _CLIENT, "peer", SERVER, "dev", far)
        _ip(*inside, "link", "set", far, "mtu", _MTU, "up")
        _ip(*inside, "link", "set", "lo", "up")


def _find_ip() -> str:
    """Return where the program ip is, nothing if it is not installed."""
    return find("ip") or next((path for path in ("/usr/sbin/ip", "/sbin/ip") if os.access(path, os.X_OK)), "")


def _ip(*arguments: str) -> None:
    result = subprocess.run([_find_ip(), *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise LinkError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
