"""The proxy variables that all tools read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from downloader.config.addresses import Endpoint, proxy_endpoint
from downloader.config.env import variable

BETWEEN = re.compile(r"[\s,]+")


def exceptions(text: str) -> tuple[str, ...]:
    """Parse NO_PROXY: names separated by commas or blanks, as for curl."""
    return tuple(item.lower() for item in BETWEEN.split(text) if item)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """Proxies, in upper or lower case; not used for the Kubernetes API."""

    http: Endpoint | None = variable(
        "http_proxy HTTP_PROXY", "proxy for http:// URLs", parse=proxy_endpoint, secret=True
    )
    https: Endpoint | None = variable(
        "https_proxy HTTPS_PROXY", "proxy for https:// URLs", parse=proxy_endpoint, secret=True
    )
    fallback: Endpoint | None = variable(
        "all_proxy ALL_PROXY", "proxy for URLs without a proxy of their own", parse=proxy_endpoint, secret=True
    )
    exceptions: tuple[str, ...] = variable(
        "no_proxy NO_PROXY",
        "hosts, domains and networks (`10.0.0.0/8`) that need no proxy, separated by commas or blanks; `localhost` and"
        " loopback addresses never do",
        parse=exceptions,
        default=(),
    )

    def named_for(self, scheme: str) -> tuple[str, Endpoint] | None:
        """Return the proxy for a scheme, and the variable that names it; None for a direct connection."""
        own = {"http": self.http, "https": self.https}.get(scheme)
        if own is not None:
            return f"{scheme.upper()}_PROXY", own
        return ("ALL_PROXY", self.fallback) if self.fallback is not None and scheme in ("http", "https") else None
