"""`ServerProbe`: the way to one server step by step, for people who want to know where it ends."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2

from downloader.errors import DownloadError, UntrustedServer
from downloader.formatting import reason
from downloader.network.errors import map_exception
from downloader.network.messages import RequestBuilder
from downloader.network.pool import Pool
from downloader.network.redirects import FOREIGN
from downloader.network.tls import SingleCertificate, Trust
from downloader.network.transport import SocketTransport
from downloader.network.url import address

if TYPE_CHECKING:
    from downloader.network.connection import Connection
    from downloader.network.pool import Timeouts
    from downloader.network.proxies import Proxies, Route
    from downloader.network.url import Origin


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server showed in its TLS handshake."""

    issuer: str
    """Names of the CA that signed it; empty if they cannot be read."""
    expires: float
    """Seconds since 1970; 0.0 if unknown."""
    version: str
    """The version of TLS in use; empty where the handshake failed."""
    store: str = ""
    """The store that has its CA; empty where certificates are not verified."""


class ServerProbe:
    """Goes the way of an `HttpClient` with the same trust, proxies and timeouts to one server, a step at a time."""

    def __init__(self, origin: Origin, tls: Trust, proxies: Proxies, *, user_agent: str, timeouts: Timeouts) -> None:
        self._origin = origin
        self._user_agent = user_agent
        self._tls = tls
        self._proxies = proxies
        self._timeouts = timeouts

    @property
    def url(self) -> str:
        """The root of the server."""
        host = f"[{self._origin.host}]" if ":" in self._origin.host else self._origin.host
        return f"{self._origin.scheme}://{host}:{self._origin.port}/"

    def route(self) -> Route:
        """Return the way to the server. Raises ConfigurationError for a proxy that cannot be used."""
        return self._proxies.route(*self._origin)

    def resolve(self) -> list[str]:
        """Return the addresses of the server, or of the proxy on the way to it. Raises UnknownHost and its like."""
        host, port = self._first_hop()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise map_exception(_as_connect_error(error), f"{self._origin.scheme}://{host}:{port}/") from error
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def connect(self) -> None:
        """Open a TCP connection to the server or its proxy, and close it. Raises SourceUnavailable."""
        host, port = self._first_hop()
        try:
            socket.create_connection((host, port), timeout=self._timeouts.connect).close()
        except OSError as error:
            raise map_exception(_as_connect_error(error), f"{self._origin.scheme}://{host}:{port}/") from error

    def certificate(self) -> Certificate | None:
        """Return the certificate of the server as it is verified for every request; None without TLS.

        Raises UntrustedServer, and the errors of a proxy that does not let us through.
        """
        with closing(self._open(self._tls)) as connection:
            if connection.stream_of_tls is None:
                return None
            found, version = connection.stream_of_tls.certificate, connection.stream_of_tls.version
        store = next((name for name, trust in self._tls.stores() if self._trusts(trust)), "")
        return Certificate(_issuer(found), _expiry(found), version, store)

    def date(self) -> str:
        """Return the `Date` that the server sends with an answer to HEAD, whatever its status; empty if it sends none.

        Raises SourceUnavailable where there is no answer.
        """
        pool = Pool(self._tls, self._proxies, self._timeouts)
        request = RequestBuilder({"accept": "*/*", "user-agent": self._user_agent}).build("HEAD", address(self.url), {})
        try:
            response = SocketTransport(pool).send(request)
            response.close()
        except FOREIGN as error:
            raise map_exception(error, self.url) from error
        finally:
            pool.close()
        return response.headers.get("date", "")

    def presented(self) -> Certificate | None:
        """Return the certificate that the server shows although it is not trusted; None if it cannot be read."""
        try:
            with closing(self._open(Trust(verify=False))) as connection:
                raw = connection.stream_of_tls.raw_certificate if connection.stream_of_tls else b""
            # OpenSSL tells what is in a certificate only if it is trusted: which it is here, for this handshake alone.
            with closing(self._open(SingleCertificate(raw))) as connection:
                found = connection.stream_of_tls.certificate if connection.stream_of_tls else {}
        except (DownloadError, ssl.SSLError):
            return None
        return Certificate(_issuer(found), _expiry(found), "")

    def _trusts(self, trust: Trust) -> bool:
        try:
            self._open(trust).close()
        except UntrustedServer:
            return False
        return True

    def _open(self, tls: Trust) -> Connection:
        try:
            return Pool(tls, self._proxies, self._timeouts).fresh(self._origin)
        except httpx2.HTTPError as error:
            raise map_exception(error, self.url) from error

    def _first_hop(self) -> tuple[str, int]:
        proxy = self.route().proxy
        return (proxy.host, proxy.port) if proxy else (self._origin.host, self._origin.port)


def _as_connect_error(error: Exception) -> Exception:
    """Return an error as the pool raises it, so that it is mapped as one that a request meets."""
    if isinstance(error, TimeoutError):
        wrapped: Exception = httpx2.ConnectTimeout("no connection within the time")
    else:
        wrapped = httpx2.ConnectError(reason(error))
    wrapped.__cause__ = error
    return wrapped


def _issuer(found: dict[str, Any]) -> str:
    names = {name: value for part in found.get("issuer", ()) for name, value in part}
    return ", ".join(names[name] for name in ("organizationName", "commonName") if name in names)


def _expiry(found: dict[str, Any]) -> float:
    return float(ssl.cert_time_to_seconds(found["notAfter"])) if "notAfter" in found else 0.0
