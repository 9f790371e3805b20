"""`Proxies`: the proxy for an origin, and the hosts that need none. Matched as curl does, with networks (ADR 70)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

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
        return self.route(scheme, host, port).proxy

    def route(self, scheme: str, host: str, port: int) -> Route:
        """Return what `choose` does, and why, for people."""
        found = self._settings.named_for(scheme) if self._settings is not None else None
        if self._settings is None or found is None:
            return Route(None, "no proxy is set")
        bypass = _bypass(self._settings.exceptions, host.lower().strip("[]").rstrip("."), port)
        if bypass:
            return Route(None, f"{bypass}, so the proxy of {found[0]} is not used")
        return Route(Proxy.of(*found), f"{found[0]} names it")


class Route(NamedTuple):
    """The way to an origin."""

    proxy: Proxy | None
    """None for a direct connection."""
    why: str
    """What decided that, as a clause."""


def _bypass(exceptions: Iterable[str], host: str, port: int) -> str:
    """Return why a host needs no proxy; empty if it needs one."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return "it is on this machine"
    item = next((item for item in exceptions if _matches(item, host, port, address)), "")
    return f"NO_PROXY has {item}" if item else ""


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
