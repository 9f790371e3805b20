"""Carry packets between two TUN devices, late and no faster than a link would: NAME NAME DELAY RATE.

DELAY is seconds each way, RATE bytes per second each way. Says `ready` when the devices are there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

_SET_NAME = 0x400454CA
_PACKETS_ONLY = 0x0001 | 0x1000
"""IP packets without a header of the device's own."""
_LARGEST = 1 << 16
_QUEUE = 0.05
"""Seconds that a packet may wait for the link; those that would wait longer are lost, as in a router."""
_BATCH = 64


class Direction:
    """One way over the link."""

    def __init__(self, entrance: int, way_out: int, delay: float, rate: float) -> None:
        self.entrance = entrance
        self._exit = way_out
        self._delay = delay
        self._rate = rate
        self._free = 0.0
        self._waiting: deque[tuple[float, bytes]] = deque()

    def take(self, now: float) -> None:
        """Take in what has come to the entrance."""
        for _ in range(_BATCH):
            try:
                packet = os.read(self.entrance, _LARGEST)
            except BlockingIOError:
                return
            start = max(self._free, now)
            if start - now <= _QUEUE:
                self._free = start + len(packet) / self._rate
                self._waiting.append((self._free + self._delay, packet))

    def give(self, now: float) -> float:
        """Let out what is due; return the seconds until the next packet is."""
        while self._waiting:
            due, packet = self._waiting[0]
            if due > now:
                return due - now
            self._waiting.popleft()
            with contextlib.suppress(OSError):  # a device that is down takes nothing
                os.write(self._exit, packet)
        return 1.0


def main(one: str, other: str, delay: str, rate: str) -> None:
    os.nice(-15)  # the link must not depend on how busy the tools keep the processors
    first, second = _open(one), _open(other)
    ways = [
        Direction(first, second, float(delay), float(rate)),
        Direction(second, first, float(delay), float(rate)),
    ]
    print("ready", flush=True)
    while True:
        timeout = min(way.give(time.monotonic()) for way in ways)
        readable, _, _ = select.select([first, second], [], [], timeout)
        for way in ways:
            if way.entrance in readable:
                way.take(time.monotonic())


def _open(name: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _SET_NAME, struct.pack("16sH22x", name.encode(), _PACKETS_ONLY))
    return handle


if __name__ == "__main__":
    main(*sys.argv[1:])
