"""Which proxy a host is reached through: `HTTP(S)_PROXY`, `ALL_PROXY` and a `NO_PROXY` that may name networks."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that is spoken to in plain HTTP; TLS to the origin goes through CONNECT."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Raise ConfigurationError for anything but `[http://][user:password@]host[:port]`."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port or 80
        except ValueError:
            raise _unusable() from None
        if parts.scheme != "http" or not parts.hostname:
            raise _unusable()
        authorization = ""
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + base64.b64encode(secret.encode()).decode()
        return cls(parts.hostname, port, authorization)


class Proxies:
    """The proxy settings of an environment, upper or lower case, the lower case first as curl does."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        def read(name: str) -> str:
            return environ.get(name.lower()) or environ.get(name) or ""

        fallback = read("ALL_PROXY")
        self._by_scheme = {
            "http": _parse(read("HTTP_PROXY") or fallback),
            "https": _parse(read("HTTPS_PROXY") or fallback),
        }
        self._exceptions = [item for part in read("NO_PROXY").split(",") if (item := part.strip().lower())]

    def choose(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy for an origin, None for a direct connection. Loopback is always direct."""
        proxy = self._by_scheme.get(scheme)
        if proxy is None or self._excepted(host.lower().strip("[]").rstrip("."), port):
            return None
        return proxy

    def _excepted(self, host: str, port: int) -> bool:
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(_matches(item, host, port, address) for item in self._exceptions)


def _unusable() -> ConfigurationError:
    """Return the error for an address that may hold a password, so it is not quoted."""
    hint = "check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
    return ConfigurationError("the proxy address is not of the form http://host:port", hint=hint)


def _parse(url: str) -> Proxy | None:
    return Proxy.parse(url) if url else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _matches(item: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if item == "*":
        return True
    if address is not None:
        try:
            return address in ipaddress.ip_network(item, strict=False)
        except ValueError:
            pass  # a name, or an address with a port
    name, separator, wanted_port = item.rpartition(":")
    if separator and wanted_port.isdecimal():
        if wanted_port.lstrip("0") != str(port):
            return False
        item = name
    suffix = item.removeprefix("*").strip("[].")
    return bool(suffix) and (host == suffix or host.endswith("." + suffix))
