"""A gate on the way to a server: passes TCP through, counts connections, and can hold or cut what is passing.

    with Gate(port_of_the_server) as gate:
        ...  # clients connect to gate.port
        gate.hold()  # connections stay open, and no byte reaches a client any more
        gate.cut()  # all connections end now

It knows nothing of what passes, so it works for plain text and TLS alike.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from tests.servers.closable import Closable

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 1 << 16
LITTLE = 1 << 16
"""Bytes that may wait on their way to a client: so little has passed when its reader is slow."""


class Gate(Closable):
    """Stands before a port on loopback, at a port of its own."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._passable = threading.Event()
        self._passable.set()
        self._passing: set[socket.socket] = set()
        self.connections = 0
        """How many clients have connected so far."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LITTLE)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Let nothing pass to clients any more."""
        self._passable.clear()

    def cut(self) -> None:
        """End all connections."""
        for one in list(self._passing):
            _end(one)

    def close(self) -> None:
        """Reject new connections, and end the open ones."""
        _end(self._listener)
        self._listener.close()
        self._passable.set()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        upstream = ("127.0.0.1", self._upstream_port)
        with client, contextlib.suppress(OSError), socket.create_connection(upstream) as server:
            self._passing |= {client, server}
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = threading.Thread(target=self._pass, args=(server, client, self._passable.wait), daemon=True)
            answers.start()
            self._pass(client, server, lambda: None)
            answers.join()
            self._passing -= {client, server}

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket, wait: Callable[[], object]) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                wait()
                target.sendall(piece)
        _end(source)
        _end(target)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
