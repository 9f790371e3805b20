"""Connections to origins: opened, kept, reused and closed."""

from __future__ import annotations

import contextlib
import http.client
import math
import socket
import ssl
import threading
import time
import weakref
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx2

from downloader.errors import ConfigurationError, ProtocolFailed
from downloader.formatting import reason
from downloader.network.connection import Connection
from downloader.network.link_local import is_link_local
from downloader.network.tls import SecureSocket

if TYPE_CHECKING:
    from downloader.network.proxies import Proxies
    from downloader.network.tls import Trust
    from downloader.network.url import Origin

ENDED = "the run has ended"
TUNNEL_REFUSED = f"Tunnel connection failed: {HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:d}"
"""What `http.client` says of a proxy that wants a password."""
MAX_IDLE = 128
"""Connections that are kept for later: twice as many as a run may have in use. A listing may lead to any number."""
FAR_RTT = 0.01
"""Seconds of connecting from which on round trips are worth avoiding."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds of silence that are borne."""

    connect: float = 10.0
    read: float = 30.0


class Pool:
    """Idle connections by origin. Usable from many threads; each connection is one thread's at a time."""

    def __init__(self, tls: Trust, proxies: Proxies, timeouts: Timeouts) -> None:
        self._tls = tls
        self._proxies = proxies
        self._timeouts = timeouts
        self._idle: list[tuple[Origin, Connection]] = []
        """The longest idle first."""
        self._allowed_hosts: set[str] = set()
        """Hosts that the run itself was told of: all others were named by servers."""
        self._busy: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._through: dict[Origin, str | None] = {}
        """What `proxied` has found out."""
        self._connect_rtt: dict[Origin, float] = {}
        """The least seconds that connecting to somebody has taken."""
        self._aborted = False
        self._lock = threading.Lock()

    def take(self, origin: Origin) -> tuple[Connection, bool]:
        """Return a connection and whether it was used before (then the server may have closed it meanwhile)."""
        with self._lock:
            places = range(len(self._idle) - 1, -1, -1)
            place = next((place for place in places if self._idle[place][0] == origin), None)
            connection = self._idle.pop(place)[1] if place is not None else None
        if connection is None:
            return self.fresh(origin), False
        self._note(connection)
        return connection, True

    def fresh(self, origin: Origin) -> Connection:
        """Return a new connection."""
        if self._aborted:
            raise httpx2.ConnectError(ENDED)
        began = time.monotonic()
        connection = self._connect(origin)
        self._connect_rtt[origin] = min(time.monotonic() - began, self._connect_rtt.get(origin, math.inf))
        self._note(connection)
        return connection

    def is_far(self, origin: Origin) -> bool:
        """Tell whether a round trip to there takes long."""
        return self._connect_rtt.get(origin, 0.0) > FAR_RTT

    def give(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection whose last answer was read to its end, unless the server said more than that."""
        if not connection.silent:
            connection.close()
            return
        with self._lock:
            self._busy.discard(connection.sock)
            self._idle.append((origin, connection))
            surplus = self._idle.pop(0)[1] if len(self._idle) > MAX_IDLE else None
        if surplus is not None:
            surplus.close()

    def allow_host(self, host: str) -> None:
        """Allow connections to this host wherever it is, since it is the run that names it and no redirect."""
        self._allowed_hosts.add(host)

    def interrupt(self) -> None:
        """End what is under way on all connections, from any thread."""
        with self._lock:
            busy = list(self._busy)
        for sock in busy:
            interrupt(sock)

    def abort(self) -> None:
        """Do that, and let nothing begin any more."""
        with self._lock:
            self._aborted = True
        self.interrupt()

    def _note(self, connection: Connection) -> None:
        """Remember a connection that somebody uses."""
        with self._lock:
            self._busy.add(connection.sock)
            aborted = self._aborted
        if aborted:
            connection.close()
            raise httpx2.ConnectError(ENDED)

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            connections = [connection for _, connection in self._idle]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def proxied(self, origin: Origin) -> str | None:
        """Return the proxy authorization to send with plain-HTTP requests ("" for none); None when direct."""
        if origin not in self._through:
            proxy = self._proxies.choose(origin.scheme, origin.host, origin.port)
            self._through[origin] = proxy.authorization if proxy and origin.scheme == "http" else None
        return self._through[origin]

    def wants_password(self, origin: Origin) -> ConfigurationError | None:
        """Return the error for a 407 on the way to an origin; None where no proxy of ours can have sent it."""
        proxy = self._proxies.choose(origin.scheme, origin.host, origin.port)
        if proxy is None:
            return None
        what = "does not accept its user and password" if proxy.authorization else "wants a user and a password"
        hint = f"put a user and a password before its host in {origin.scheme.upper()}_PROXY"
        return ConfigurationError(f"the proxy {proxy.host}:{proxy.port} {what} (HTTP 407)", hint=hint)

    def _require_outward(self, origin: Origin, address: str) -> None:
        """Raise ProtocolFailed if a redirect, and not the run itself, leads to a link-local or metadata address."""
        if origin.host in self._allowed_hosts or not is_link_local(address):
            return
        told = "" if address == origin.host else f" ({address})"
        raise ProtocolFailed(
            f"a redirect leads to {origin.host}{told}, a link-local or metadata address, which is not followed"
        )

    def _connect(self, origin: Origin) -> Connection:
        proxy = self._proxies.choose(origin.scheme, origin.host, origin.port)
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        tcp = http.client.HTTPConnection(host, port, timeout=self._timeouts.connect)
        secure = origin.scheme == "https"
        if secure and proxy:
            headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            tcp.set_tunnel(origin.host, origin.port, headers)
        self._require_outward(origin, origin.host)
        try:
            tcp.connect()
            if not proxy:
                self._require_outward(origin, tcp.sock.getpeername()[0])
            link = SecureSocket(tcp.sock, self._tls.context, origin.host) if secure else None
        except ProtocolFailed:
            tcp.close()
            raise
        except TimeoutError as error:
            tcp.close()
            raise httpx2.ConnectTimeout("no connection within the time") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The last is a host name that cannot be one.
            tcp.close()
            refused = self.wants_password(origin) if TUNNEL_REFUSED in str(error) else None
            if refused is not None:
                raise refused from error
            failure = httpx2.ProxyError if proxy and not isinstance(error, ssl.SSLError) else httpx2.ConnectError
            raise failure(reason(error)) from error
        tcp.sock.settimeout(self._timeouts.read)
        tcp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return Connection(tcp.sock, link)


def interrupt(sock: socket.socket) -> None:
    """Wake whoever is blocked reading from this socket: the read ends as if the peer had closed it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
