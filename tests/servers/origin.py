"""The HTTP/1.1 server under our own test servers: keep-alive, ranges, validators, a log of requests, and faults.

An application is a function from a request to a reply. What the server does with the reply (ranges, conditions, the
faults in force) is the same for all of them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from tests.servers.closable import Closable
from tests.servers.exchange import Ended, Exchange
from tests.servers.faults import Faults
from tests.servers.messages import Log, Request
from tests.servers.process import LOOPBACK

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tests.servers.messages import Reply

_CLOSING_SECONDS = 5


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        content = self.rfile.read(int(headers.get("content-length", "0")))
        server: Server = self.server
        request = Request(self.command, self.path, headers, server.scheme, content)
        exchange = Exchange(self, request, server.application(request))
        server.log.add(exchange.record)
        fault, after = server.faults.take(
            exchange.record.route, request.method, request.path, exchange.start, exchange.start + exchange.length
        )
        fault.play(exchange, after)
        self.close_connection |= exchange.declared != exchange.stop - exchange.start

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815


def _wake(blocked: socket.socket) -> None:
    """End what a thread waits for on this socket."""
    with contextlib.suppress(OSError):
        blocked.shutdown(socket.SHUT_RDWR)


class Server(Closable):
    """Serves one application on a port of its own, each connection in its own thread."""

    def __init__(
        self,
        application: Callable[[Request], Reply],
        faults: Faults | None = None,
        log: Log | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = LOOPBACK,
    ) -> None:
        self.host = host
        self.application = application
        self._tls = tls
        self.faults = faults or Faults()
        self.log = log or Log()
        self._threads: dict[socket.socket, threading.Thread] = {}
        self._queued: list[socket.socket] = []
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._listen()

    @property
    def scheme(self) -> str:
        """What URLs of this server begin with."""
        return "https" if self._tls else "http"

    @property
    def origin(self) -> str:
        """The server's URL, without a slash at its end."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open. Once it is 0, no earlier request is answered, or logged, any more."""
        return len(self._threads)

    def refuse(self) -> None:
        """Close the port: end all connections and refuse new ones until `accept`."""
        _wake(self._listener)
        self._accepting.join()
        self._empty_queue()
        with self._listener:  # closed only when another keeps the port: another process might take it
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((self.host, self.port))
        for connection in list(self._threads):
            _wake(connection)
        for thread in list(self._threads.values()):
            thread.join(_CLOSING_SECONDS)

    def ignore(self) -> None:
        """Leave clients that connect without any answer, as a firewall does, until `accept`."""
        self.refuse()
        self._listener.listen(0)
        # The kernel drops what comes once the queue is full, and no thread empties it.
        for _ in range(2):
            queued = socket.socket()
            queued.setblocking(False)
            queued.connect_ex((self.host, self.port))
            self._queued.append(queued)

    def accept(self) -> None:
        """Open the port again."""
        self._listen()

    def close(self) -> None:
        """End everything."""
        self.refuse()
        self._listener.close()

    def _empty_queue(self) -> None:
        while self._queued:
            self._queued.pop().close()

    def _listen(self) -> None:
        self._empty_queue()
        self._listener.listen(128)
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._accepting.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            if self._tls is not None:
                # The handshake waits for the first read, which is not in this thread.
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            thread = threading.Thread(target=self._serve, args=(connection, address), daemon=True)
            self._threads[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket, address: object) -> None:
        try:
            _Handler(connection, address, self)  # type: ignore[arg-type]  # all that it asks of a server is ours
        except (Ended, OSError):
            pass
        finally:
            del self._threads[connection]
            connection.close()
