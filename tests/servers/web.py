"""nginx from Debian: plain HTTP and TLS over one folder, as any static file server would do it."""

from __future__ import annotations

import json
import os
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.servers.closable import Closable
from tests.servers.process import LOOPBACK, Child, find_program, free_port, listening

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.servers.certificates import Authority

CONFIGURATION = """
daemon off;
{user}
pid {state}/nginx.pid;
error_log {state}/error.log warn;
worker_processes {workers};
events {{ worker_connections 1024; }}
http {{
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000;
  client_body_temp_path {state}/body;
  proxy_temp_path {state}/proxy;
  fastcgi_temp_path {state}/fastcgi;
  uwsgi_temp_path {state}/uwsgi;
  scgi_temp_path {state}/scgi;
  log_format facts escape=json '{{"method": "$request_method", "path": "$request_uri", "status": $status, '
    '"range": "$http_range", "authorization": "$http_authorization", "sent": $body_bytes_sent, "tls": "$https", '
    '"ended": $msec, "seconds": $request_time}}';
  access_log {state}/access.log facts;
  server {{
    listen 127.0.0.1:{port};
    {addresses} {tls}
    root "{root}";
    autoindex off;
{options}
  }}
}}
"""


@dataclass(frozen=True)
class Options:
    """How the server differs from a plain one."""

    limit_rate: int = 0
    """Bytes per second and connection; 0 means no limit."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Name → password; when there are any, basic authentication is demanded everywhere."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every answer."""
    redirects: Mapping[str, str] = field(default_factory=dict)
    """First part of the path → URL of another folder, mostly of another server: `{"moved": other.url}`."""
    workers: int = 1
    addresses: Sequence[str] = ()
    """Where to listen besides loopback, on the same port as plain HTTP."""


@dataclass(frozen=True)
class Served:
    """One finished request, as nginx logged it."""

    method: str
    path: str
    status: int
    range: str
    authorization: str
    sent: int
    """Bytes of body."""
    tls: str
    """`on` or empty."""
    ended: float
    """When the last byte was handed to the kernel: seconds since 1970."""
    seconds: float
    """How long it took from the request's first byte."""


class WebServer(Closable):
    """A running nginx that serves `folder`; `url` is plain HTTP, `secure_url` TLS (with an authority)."""

    def __init__(
        self,
        folder: Path,
        *,
        state: Path,
        authority: Authority | None = None,
        options: Options | None = None,
    ) -> None:
        """`state` takes configuration and logs: one folder for each server, outside of what is served."""
        program = find_program("nginx", "nginx-light")
        state.mkdir(parents=True, exist_ok=True)
        self._state = state
        port, secure_port = free_port(), free_port()
        configuration = state / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                state=state,
                user="user root;" if os.geteuid() == 0 else "",  # the folder belongs to the user who runs the tests
                root=folder,
                port=port,
                addresses=" ".join(f"listen {address}:{port};" for address in (options or Options()).addresses),
                tls=_tls(secure_port, authority, (options or Options()).addresses) if authority else "",
                workers=(options or Options()).workers,
                options="\n".join(f"    {line}" for line in self._directives(options or Options())),
            )
        )
        self._child = Child([program, "-e", f"{state}/error.log", "-c", str(configuration)], folder=state)
        self._child.wait_until(lambda: listening(port))
        self.port, self._secure_port = port, secure_port
        self.url = self.url_at(LOOPBACK)
        self.secure_url = self.url_at(LOOPBACK, secure=True)

    def url_at(self, address: str, *, secure: bool = False) -> str:
        """Return its URL at an address that it listens at: loopback, or one of the `addresses` of its options."""
        return f"https://{address}:{self._secure_port}" if secure else f"http://{address}:{self.port}"

    @property
    def requests(self) -> list[Served]:
        """Every request that has ended so far, oldest first."""
        log = self._state / "access.log"
        return [Served(**json.loads(line)) for line in log.read_text().splitlines()]

    def close(self) -> None:
        self._child.close()

    def _directives(self, options: Options) -> list[str]:
        lines = [f"add_header {name} {json.dumps(value)} always;" for name, value in options.headers.items()]
        if options.limit_rate:
            lines.append(f"limit_rate {options.limit_rate};")
        if options.users:
            passwords = self._state / "passwords"
            passwords.write_text("".join(f"{name}:{{PLAIN}}{word}\n" for name, word in options.users.items()))
            lines += ['auth_basic "models";', f"auth_basic_user_file {passwords};"]
        for first, target in options.redirects.items():
            lines.append(f"rewrite ^/{urllib.parse.quote(first)}(/.*)$ {target.rstrip('/')}$1 redirect;")
        return lines


def _tls(port: int, authority: Authority, addresses: Sequence[str]) -> str:
    certificate = authority.issue(LOOPBACK, *addresses) if addresses else authority.certificate
    listen = " ".join(f"listen {address}:{port} ssl;" for address in (LOOPBACK, *addresses))
    return f"{listen} ssl_certificate {certificate}; ssl_certificate_key {certificate};"
