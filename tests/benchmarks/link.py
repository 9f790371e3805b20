"""A long way to the server: packets through TUN devices and a network namespace, or connections through a relay.

The first needs root and no netem. Clients run in the namespace, servers outside of it listen at `SERVER` too.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Self

from tests.benchmarks.peers import find, program
from tests.servers.closable import Closable
from tests.servers.process import MissingProgram, find_program

SERVER = "198.18.0.1"
"""Of the network that is set aside for benchmarks (RFC 2544)."""
_CLIENT = "198.18.0.2"
_NUMBERS = itertools.count()
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


class ShapedLink(Closable):
    """A link of one process's own, shaped by the kernel; `prefix` runs a command at its far end.

    Several may be open at once. All of them lead to `SERVER`.
    """

    def __init__(self, number: int, rate: int) -> None:
        """`number` tells it from the others, from 0 on; `rate` is Mbit/s towards the far end. Raises LinkError."""
        if not _find_ip():
            raise LinkError("the program ip is missing (package iproute2)")
        self._name = f"s{os.getpid() % 100_000}n{next(_NUMBERS)}"  # a new one: the kernel removes old ones late
        near, far, client = f"{self._name}s", f"{self._name}c", f"198.18.2.{number + 1}"
        self.prefix = (_find_ip(), "netns", "exec", self._name)
        inside = ("-netns", self._name)
        try:
            _ip("netns", "add", self._name)
            _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self._name)
            _ip("address", "add", SERVER, "peer", client, "dev", near)
            _ip("link", "set", near, "up")
            _ip(*inside, "address", "add", client, "peer", SERVER, "dev", far)
            _ip(*inside, "link", "set", far, "up")
            _ip(*inside, "link", "set", "lo", "up")
            shape = ("tbf", "rate", f"{rate}mbit", "burst", "256kb", "latency", "50ms")
            _run(find_program("tc", "iproute2"), "qdisc", "add", "dev", near, "root", *shape)
        except MissingProgram as error:
            self.close()
            raise LinkError(str(error)) from error
        except LinkError:
            self.close()
            raise

    def close(self) -> None:
        """Remove it; the near end goes with the namespace."""
        subprocess.run([_find_ip(), "netns", "delete", self._name], capture_output=True, check=False)


def _find_ip() -> str:
    """Return where the program ip is, nothing if it is not installed."""
    return find("ip") or next((path for path in ("/usr/sbin/ip", "/sbin/ip") if os.access(path, os.X_OK)), "")


def _ip(*arguments: str) -> None:
    _run(_find_ip(), *arguments)


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise LinkError(f"{' '.join(command)}: {result.stderr.strip()}")
