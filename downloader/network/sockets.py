"""A blocking socket with the kernel's timeouts, which can wait for many bytes in one call.

A socket with a timeout of Python's own is not blocking underneath, so each read returns the few packets that have
arrived. Over 1 Gbit/s the interpreter lock was held for a second per GiB that way (ADR 93).
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct

_MICROSECONDS = 1_000_000


class BlockingSocket:
    """A connected socket, for one thread at a time. Raises OSError; TimeoutError, which is one, after `timeout`."""

    def __init__(self, sock: socket.socket, *, timeout: float, gather: float) -> None:
        """Take over a connected socket.

        Each call waits for `timeout` seconds at most, `gather_into` for `gather` seconds if something has come.
        """
        self.sock = sock
        self._gather = gather
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(gather))
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self.timeout = timeout

    @property
    def timeout(self) -> float:
        """Seconds for which one call waits."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._timeout = seconds
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(seconds))

    def recv_into(self, view: memoryview, /) -> int:
        """Read what has arrived into `view`, at least one byte, and return its length; 0 at the end."""
        return self._receive(view, 0)

    def gather_into(self, view: memoryview, /) -> int:
        """Fill `view`, or as much of it as arrives within `gather` seconds, but at least one byte; 0 at the end.

        All of it must be certain to come: else that time is waited in vain.
        """
        return self._receive(view, socket.MSG_WAITALL)

    def _receive(self, view: memoryview, flags: int) -> int:
        with contextlib.suppress(BlockingIOError):
            return self.sock.recv_into(view, 0, flags)
        if not self._readable.poll(max(0.0, self._timeout - self._gather) * 1000):
            raise TimeoutError("timed out")
        return self.sock.recv_into(view)

    def sendall(self, data: bytes, /) -> None:
        """Send everything."""
        try:
            self.sock.sendall(data)
        except BlockingIOError:
            raise TimeoutError("timed out") from None


def _timeval(seconds: float) -> bytes:
    """Return the kernel's `struct timeval`. In it 0 would mean for ever."""
    whole, rest = divmod(max(1, round(seconds * _MICROSECONDS)), _MICROSECONDS)
    return struct.pack("@ll", whole, rest)
