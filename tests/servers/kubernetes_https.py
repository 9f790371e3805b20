"""HTTP over TLS for the test API server: one port, each connection in its own thread."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.servers.kubernetes_api import Request
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tests.servers.kubernetes_api import Answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def setup(self) -> None:
        self.request.settimeout(AT_LAST)
        self.request.do_handshake()
        super().setup()

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        content = self.rfile.read(int(headers.get("content-length", "0")))
        answer = self.server.application(Request(self.command, self.path, headers, "https", content=content))
        if answer is None:
            self.close_connection = True
            return
        body = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815


class Listener(ThreadingHTTPServer):
    """Accepts connections on one port; TLS is spoken in each connection's own thread."""

    daemon_threads = False

    def __init__(self, port: int, context: ssl.SSLContext, application: Callable[[Request], Answer | None]) -> None:
        self.application = application
        self._context = context
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        self._accepting = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._accepting.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        secured = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._connections.add(secured)
        return secured, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a client go away in peace; a bug of ours is printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def end(self) -> None:
        """Close the port and end all connections."""
        self.shutdown()
        self._accepting.join()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which takes the session from under its thread.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.server_close()
