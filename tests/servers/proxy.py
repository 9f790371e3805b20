"""A forward proxy as companies have them: plain HTTP and CONNECT, with or without a password.

    with Proxy({"models.test": port_on_loopback}, password="me:word") as proxy:
        ...  # HTTPS_PROXY=proxy.url
        assert proxy.log == ["CONNECT models.test:443"]

Names are resolved by the proxy alone, so what is asked for need not exist anywhere else.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.servers.closable import Closable

if TYPE_CHECKING:
    from collections.abc import Mapping

PIECE = 1 << 16


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        if (upstream := self._upstream(self.path.rpartition(":")[0])) is not None:
            with upstream:
                self.send_response(200)
                self.end_headers()
                self._pass(upstream)

    def do_GET(self) -> None:
        if (upstream := self._upstream(urlsplit(self.path).hostname or "")) is not None:
            with upstream:
                kept = [(name, value) for name, value in self.headers.items() if not name.lower().startswith("proxy-")]
                lines = [f"{self.command} {urlsplit(self.path)._replace(scheme='', netloc='').geturl()} HTTP/1.1"]
                lines += [f"{name}: {value}" for name, value in kept if name.lower() != "connection"]
                upstream.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
                self._pass(upstream)

    do_HEAD = do_GET  # noqa: N815

    def _upstream(self, host: str) -> socket.socket | None:
        self.server.log.append(f"{self.command} {self.path}")
        self.close_connection = True
        if self.headers.get("Proxy-Authorization", "") != self.server.authorization:
            self.send_error(407)
        elif host not in self.server.hosts:
            self.send_error(502, "no such host")
        else:
            return socket.create_connection(("127.0.0.1", self.server.hosts[host]))
        return None

    def _pass(self, upstream: socket.socket) -> None:
        """Let everything pass both ways until the server has ended."""
        requests = threading.Thread(target=_copy, args=(self.connection, upstream), daemon=True)
        requests.start()
        _copy(upstream, self.connection)
        requests.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hosts: Mapping[str, int], authorization: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hosts = hosts
        self.authorization = authorization
        self.log: list[str] = []


class Proxy(Closable):
    """A running proxy; `hosts` says on which loopback port each host is."""

    def __init__(self, hosts: Mapping[str, int], *, password: str = "") -> None:
        authorization = f"Basic {base64.b64encode(password.encode()).decode()}" if password else ""
        self._server = _Server(hosts, authorization)
        self.log = self._server.log
        """First lines of the requests, oldest first, without their version."""
        self.port: int = self._server.server_address[1]
        self.url = f"http://{password}{'@' if password else ''}127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
