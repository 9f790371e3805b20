"""`Proxies`: the proxy for an origin, and the hosts that need none. Matched as curl does, with networks (ADR 70)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from downloader.network.interfaces import Endpoint, ProxySettings

HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that speaks plain HTTP; TLS to the origin goes through CONNECT."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @classmethod
    def of(cls, name: str, endpoint: Endpoint) -> Proxy:
        """Return the proxy at an endpoint. Raises ConfigurationError, naming the variable `name`, unless it is http://."""
        if endpoint.scheme != "http":
            raise ConfigurationError(
                f"{name} names a proxy of the kind {endpoint.scheme}://, and only http:// is supported",
                hint="name another proxy, or the host in NO_PROXY",
            )
        return cls(endpoint.host, endpoint.port or HTTP_PORT, endpoint.authorization)


class Proxies:
    """Chooses the proxy for each origin."""

    def __init__(self, settings: ProxySettings | None = None) -> None:
        self._settings = settings

    def choose(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy for an origin, None for a direct connection. Loopback is always direct.

        Raises ConfigurationError for a proxy that does not speak HTTP. Only here: an origin that needs no proxy works
        although `ALL_PROXY` names one of another kind.
        """
        if self._settings is None:
            return None
        found = self._settings.named_for(scheme)
        if found is None or _bypasses(self._settings.exceptions, host.lower().strip("[]").rstrip("."), port):
            return None
        return Proxy.of(*found)


def _bypasses(exceptions: Iterable[str], host: str, port: int) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(item, host, port, address) for item in exceptions)


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
