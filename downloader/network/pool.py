"""`Pool`: opens connections to origins, directly or through a proxy, and keeps idle ones for reuse."""

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
from downloader.network.sockets import BlockingSocket
from downloader.network.tls import SecureSocket

if TYPE_CHECKING:
    from downloader.network.proxies import Proxies, Proxy
    from downloader.network.tls import Trust
    from downloader.network.url import Origin

ENDED = "the run has ended"
TUNNEL_REFUSED = f"Tunnel connection failed: {HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:d}"
"""The beginning of `http.client`'s message where a proxy wants a password."""
MAX_IDLE = 128
"""Idle connections that are kept: twice as many as a run may use. A listing may lead to any number of servers."""
FAR_RTT = 0.01
"""Seconds. If connecting takes longer, round trips are worth avoiding."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float = 10.0
    """For the connection, its proxy and the TLS handshake."""
    read: float = 30.0
    """For each read."""
    gather: float = 0.05
    """For the rest of many bytes, once some have come: each read costs the same. Longer, and progress would stutter."""
    pipelined: float = 5.0
    """For the first responses of a server that is not known to support pipelining yet."""
    look_ahead: float = 1.0
    """For the redirects of several files together, before the first of them is fetched."""
    rate_limit: float = 600.0
    """For the end of a rate limit's window: a longer one is ignored."""


class Pool:
    """Idle connections by origin, for many threads; each connection belongs to one thread at a time."""

    def __init__(self, tls: Trust, proxies: Proxies, timeouts: Timeouts) -> None:
        self._tls = tls
        self._proxies = proxies
        self.timeouts = timeouts
        self._idle: list[tuple[Origin, Connection]] = []
        """The longest idle first."""
        self._allowed_hosts: set[str] = set()
        """Hosts that the run itself names; all others were named by servers, in redirects."""
        self._busy: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._through: dict[Origin, str | None] = {}
        """Results of `proxied`: it is asked for each request."""
        self._connect_rtt: dict[Origin, float] = {}
        """The shortest time in seconds that connecting to an origin took: one round trip, two with TLS."""
        self.asked: dict[Origin, None] = {}
        """The servers to which a connection was wanted, in this order, whether or not there was one."""
        self._aborted = False
        self._lock = threading.Lock()

    def take(self, origin: Origin) -> tuple[Connection, bool]:
        """Return a connection, and whether it was used before: the server may have closed that one meanwhile."""
        with self._lock:
            places = range(len(self._idle) - 1, -1, -1)
            place = next((place for place in places if self._idle[place][0] == origin), None)
            connection = self._idle.pop(place)[1] if place is not None else None
        if connection is None:
            return self.fresh(origin), False
        self._note(connection)
        return connection, True

    def fresh(self, origin: Origin) -> Connection:
        """Open a new connection. Raises httpx2's errors, ProtocolFailed and ConfigurationError."""
        if self._aborted:
            raise httpx2.ConnectError(ENDED)
        self.asked[origin] = None
        began = time.monotonic()
        connection = self._connect(origin)
        self._connect_rtt[origin] = min(time.monotonic() - began, self._connect_rtt.get(origin, math.inf))
        self._note(connection)
        return connection

    def is_far(self, origin: Origin) -> bool:
        """Tell whether a round trip takes longer than FAR_RTT."""
        return self._connect_rtt.get(origin, 0.0) > FAR_RTT

    def give(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection whose response was read to its end.

        Bytes that follow would be taken for the next response: such a connection is closed.
        """
        if not connection.is_drained:
            connection.close()
            return
        with self._lock:
            self._busy.discard(connection.sock)
            self._idle.append((origin, connection))
            surplus = self._idle.pop(0)[1] if len(self._idle) > MAX_IDLE else None
        if surplus is not None:
            surplus.close()

    def allow_host(self, host: str) -> None:
        """Allow a link-local address for this host: the user named it, not a redirect."""
        self._allowed_hosts.add(host)

    def interrupt(self) -> None:
        """End all exchanges that are under way, from any thread."""
        with self._lock:
            busy = list(self._busy)
        for sock in busy:
            interrupt(sock)

    def abort(self) -> None:
        """Do the same for good: no connection is opened any more."""
        with self._lock:
            self._aborted = True
        self.interrupt()

    def _note(self, connection: Connection) -> None:
        """Remember a connection that is in use, so that `interrupt` finds it."""
        with self._lock:
            self._busy.add(connection.sock)
            aborted = self._aborted
        # After the registration: `abort` sees the connection, or this sees the abort.
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
        """Return the error for a 407 on the way to an origin; None where no proxy is used, so the server sent it."""
        proxy = self._proxies.choose(origin.scheme, origin.host, origin.port)
        if proxy is None:
            return None
        what = "does not accept its user and password" if proxy.authorization else "wants a user and a password"
        hint = f"put a user and a password before its host in {origin.scheme.upper()}_PROXY"
        return ConfigurationError(f"the proxy {proxy.host}:{proxy.port} {what} (HTTP 407)", hint=hint)

    def _require_outward(self, origin: Origin, address: str) -> None:
        """Raise ProtocolFailed if a redirect leads to a link-local or metadata address.

        Otherwise a server could make a pod read its node's credentials and store them as a model file.
        """
        if origin.host in self._allowed_hosts or not is_link_local(address):
            return
        told = "" if address == origin.host else f" ({address})"
        raise ProtocolFailed(
            f"a redirect leads to {origin.host}{told}, a link-local or metadata address, which is not followed"
        )

    def _connect(self, origin: Origin) -> Connection:
        proxy = self._proxies.choose(origin.scheme, origin.host, origin.port)
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        tcp = http.client.HTTPConnection(host, port, timeout=self.timeouts.connect)
        secure = origin.scheme == "https"
        if secure and proxy:
            headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            tcp.set_tunnel(origin.host, origin.port, headers)
        self._require_outward(origin, origin.host)
        try:
            tcp.connect()
            if not proxy:
                # Once more, by the address that the name led to: a name may resolve to anything.
                self._require_outward(origin, tcp.sock.getpeername()[0])
            plain = BlockingSocket(tcp.sock, timeout=self.timeouts.connect, gather=self.timeouts.gather)
            link = SecureSocket(plain, self._tls.context, origin.host) if secure else None
        except ProtocolFailed:
            tcp.close()
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            # ValueError: a host name that cannot be encoded.
            tcp.close()
            raise self._connect_error(error, origin, proxy) from error
        plain.timeout = self.timeouts.read
        tcp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return Connection(plain, link)

    def _connect_error(self, error: Exception, origin: Origin, proxy: Proxy | None) -> Exception:
        """Return the library's error for a failed connection, or ours if a proxy wants a password."""
        if isinstance(error, TimeoutError):
            return httpx2.ConnectTimeout("no connection within the time")
        refused = self.wants_password(origin) if TUNNEL_REFUSED in str(error) else None
        if refused is not None:
            return refused
        if proxy and not isinstance(error, ssl.SSLError):
            return httpx2.ProxyError(f"{proxy.host}:{proxy.port}: {reason(error)}")
        return httpx2.ConnectError(reason(error))


def interrupt(sock: socket.socket) -> None:
    """Wake a thread that is blocked reading from this socket: the read ends as if the peer had closed it.

    Only a shutdown does that: closing the descriptor would leave the thread blocked, and its number could be reused.
    """
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
