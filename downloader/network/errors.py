"""Maps statuses and library errors to ours: the one place for everything that goes over HTTP."""

from __future__ import annotations

import os
import re
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

import httpx2

from downloader.artifact import shown_url
from downloader.error_map import ErrorRow, instance_of, map_error, one_of
from downloader.errors import (
    ConfigurationError,
    ConnectionBroken,
    DownloadError,
    ProtocolFailed,
    SourceChanged,
    SourceSilent,
    SourceUnavailable,
    Throttled,
    UnknownHost,
    Verdict,
)
from downloader.formatting import reason
from downloader.network.retry_after import retry_after
from downloader.network.server_message import server_message
from downloader.network.tls_errors import causes, map_tls_error

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY = 4096
"""Bytes of an explanation that are looked at."""
BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
UNKNOWN_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
"""How the resolver says that there is no such name, and not that it cannot tell for now."""
NO_TLS = re.compile(r"wrong version number|record layer failure|http request|packet length too long", re.IGNORECASE)
"""How OpenSSL, in one version or another, calls an answer in plain HTTP."""
LASTING = frozenset(
    {
        HTTPStatus.NOT_IMPLEMENTED,
        HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
        HTTPStatus.VARIANT_ALSO_NEGOTIATES,
        HTTPStatus.LOOP_DETECTED,
        HTTPStatus.NOT_EXTENDED,
        HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED,
    }
)
"""Errors of a server that another try does not get around."""
PASSING = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        *range(HTTPStatus.INTERNAL_SERVER_ERROR, 1000),
    }
) - (LASTING | BUSY)
"""Errors that another try may get around. What is not registered counts as 500 (RFC 9110, section 15): content networks
have numbers of their own for a server behind them that is down, slow or overloaded."""

_EXCEPTIONS: tuple[ErrorRow[BaseException, DownloadError], ...] = (
    ErrorRow(
        instance_of(httpx2.ConnectTimeout),
        SourceUnavailable,
        "{where} does not answer",
        "check host, network and proxy",
    ),
    ErrorRow(instance_of(httpx2.TimeoutException), SourceSilent, "{where} was silent for too long"),
    ErrorRow(
        instance_of(httpx2.ProxyError),
        SourceUnavailable,
        "{where} cannot be reached through the proxy {why}",
        "check HTTPS_PROXY and HTTP_PROXY, or name the host in NO_PROXY",
    ),
    ErrorRow(
        lambda error: isinstance(error, httpx2.ConnectError) and NO_TLS.search(str(error)) is not None,
        SourceUnavailable,
        "cannot connect to {where}: the server does not speak TLS there ({why})",
        "check the port; a server without TLS is addressed with http://",
    ),
    ErrorRow(
        instance_of(httpx2.ConnectError),
        SourceUnavailable,
        "cannot connect to {where}: {why}",
        "check host, network and proxy",
    ),
    ErrorRow(
        instance_of(httpx2.UnsupportedProtocol, httpx2.InvalidURL),
        ConfigurationError,
        "{where} is not a usable address: {why}",
        "check the URI and the endpoint",
    ),
    # Header values come from tokens and AIM_WEB_HEADERS: what cannot be sent once can never be sent.
    ErrorRow(
        instance_of(httpx2.LocalProtocolError),
        ConfigurationError,
        "the request to {where} cannot be sent: {why}",
        "check the tokens and headers in the environment",
    ),
    # Several of these within a second count as throttling, unlike the general row below.
    ErrorRow(instance_of(httpx2.NetworkError, OSError), ConnectionBroken, "the connection to {where} broke: {why}"),
    ErrorRow(instance_of(httpx2.TransportError), SourceUnavailable, "the connection to {where} broke: {why}"),
)
_STATUSES: tuple[ErrorRow[int, DownloadError], ...] = (
    ErrorRow(one_of(*PASSING), SourceUnavailable, "{where} answered HTTP {status}{told}"),
    ErrorRow(one_of(*BUSY), Throttled, "{host} asks for a pause{length} (HTTP {status}){told}"),
    ErrorRow(
        one_of(HTTPStatus.PRECONDITION_FAILED),
        SourceChanged,
        "{where} changed while it was being read",
        "start again to fetch its new version",
    ),
)
"""What a status means whichever source asked."""


class HttpStatusError(DownloadError):
    """A server answered with a status that only the source can interpret."""

    verdict: ClassVar[Verdict] = Verdict.FALL_BACK
    exit_status = os.EX_UNAVAILABLE

    def __init__(self, status: int, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """`url` is where the answer came from, after all redirects; of `body` a part is kept."""
        self.status = status
        self.url = url
        self.headers = headers
        self.body = body[:MAX_BODY]
        self.server_message = server_message(headers, self.body)
        """The server's own explanation, as one short line; empty where it gives none."""
        told = f": {self.server_message}" if self.server_message else ""
        super().__init__(f"{shown_url(url)} answered HTTP {status}{told}")

    @property
    def host(self) -> str:
        """Who answered: the host, with its port where that is not the usual one."""
        return host_of(self.url)


def place(url: str, at: str = "") -> str:
    """Return an address as messages name it, with the host that redirects led to, if that is another one."""
    answered = host_of(at) if at else ""
    return shown_url(url) if answered in ("", host_of(url)) else f"{shown_url(url)} (redirected to {answered})"


def host_of(url: str) -> str:
    """Return the host that an address names, with its port where that is not the usual one."""
    return shown_url(url).partition("://")[2].partition("/")[0]


def map_status(
    status: int, url: str, headers: Mapping[str, str], body: bytes, asked_at: float | None = None
) -> DownloadError:
    """Return the error that an answer with this status stands for; `asked_at` as `Throttled` has it."""
    pause = retry_after(headers) if status in BUSY else None
    words = server_message(headers, body[:MAX_BODY]) if status in BUSY | PASSING else ""
    error = map_error(
        _STATUSES,
        status,
        status=status,
        where=shown_url(url),
        host=host_of(url),
        told=f": {words}" if words else "",
        length="" if pause is None else f" of {pause:.0f} s",
    )
    if isinstance(error, Throttled):
        error.retry_after, error.asked_at = pause, asked_at
    return error or HttpStatusError(status, url, headers, body)


def map_exception(error: Exception, url: str, at: str = "") -> DownloadError:
    """Return our error for one that httpx2, ssl or the socket layer raised. The caller must chain it.

    `url` is what was wanted, `at` the address to which redirects had led.
    """
    untrusted = map_tls_error(error, shown_url(at or url))
    if untrusted is not None:
        return untrusted
    if _is_unknown_name(error):
        return UnknownHost(
            f"there is no host of the name {_hostname(at or url)}",
            hint="check the address, the network and its DNS",
        )
    where, why = place(url, at), reason(error)
    return map_error(_EXCEPTIONS, error, where=where, why=why) or ProtocolFailed(f"reading {where} failed: {why}")


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # a server may redirect to `http://[/`
        return host_of(url)


def _is_unknown_name(error: Exception) -> bool:
    """Tell whether there is no host of the server's name; a proxy's name would be another matter."""
    return not isinstance(error, httpx2.ProxyError) and any(
        isinstance(link, socket.gaierror) and link.errno in UNKNOWN_NAME for link in causes(error)
    )
