"""URLs. Each file of an artifact has one, so common ones are split by a regex; httpx2 parses the others."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import httpx2

HTTP_PORT, HTTPS_PORT = 80, 443
REMEMBERED = 1024
"""Parsed URLs that are cached: each is needed several times while its file is fetched."""
_SIGN, _ENCODED = r"[A-Za-z0-9._~!$&'()*+,=:@-]++", r"%[0-9A-Fa-f]{2}"
_TARGET = rf"(?:/(?!\.)(?:{_SIGN}|{_ENCODED})*+)++(?:\?(?:[/?]++|{_SIGN}|{_ENCODED})++)?"
PLAIN = re.compile(rf"(https?://[^/?#@\\\s]++)({_TARGET})")
"""Scheme and host, and a path that needs no normalization: nothing to encode, no segment that begins with a dot."""
ROOTED = re.compile(rf"(?!//){_TARGET}")
"""A redirect to a path of the same host."""


class Origin(NamedTuple):
    """Scheme, host and port: the server, and the scope of credentials."""

    scheme: str
    host: str
    port: int

    def shares_credentials_with(self, other: Origin) -> bool:
        """Tell whether credentials may be sent to `other`: to the same origin, or from http to https on the same host.

        As curl and others have it: only between the usual ports, behind which there is one owner. Hosts are compared as
        they are resolved: in lower case and in their IDNA form, but `host.` is not `host`, since a resolver may search
        its own domains for the second, and an address in another notation is another host.
        """
        if self == other:
            return True
        upgraded = Origin("http", self.host, HTTP_PORT), Origin("https", self.host, HTTPS_PORT)
        return (self, other) == upgraded

    def loses_tls_at(self, other: Origin) -> bool:
        """Tell whether the way to `other` is open where this one is not.

        Nothing leads there: bytes could be replaced on the way, and a signed URL read.
        """
        return self.scheme == "https" and other.scheme != "https"


class Address(NamedTuple):
    """A parsed URL."""

    url: str
    origin: Origin
    authority: str
    """The value of `Host`: the host, and the port where it is not the scheme's own."""
    target: str
    """Path and query as they are sent."""

    def join(self, location: str) -> Address:
        """Resolve the `Location` of a redirect. Raises httpx2.InvalidURL."""
        if ROOTED.fullmatch(location):
            return Address(f"{self.origin.scheme}://{self.authority}{location}", self.origin, self.authority, location)
        if PLAIN.fullmatch(location):
            return address(location)
        return address(str(httpx2.URL(self.url).join(location)))


@lru_cache(maxsize=REMEMBERED)
def address(url: str) -> Address:
    """Parse a URL. Raises httpx2.InvalidURL."""
    plain = PLAIN.fullmatch(url)
    if plain is None:
        return _parsed(url)
    host, target = plain.groups()
    at = _host(host)
    return Address(url, at.origin, at.authority, target)


def _parsed(url: str) -> Address:
    """Parse with httpx2, which takes longer than fetching a small file."""
    parsed = httpx2.URL(url)
    scheme, host = parsed.scheme, parsed.raw_host.decode("ascii")
    usual = HTTPS_PORT if scheme == "https" else HTTP_PORT
    origin = Origin(scheme, host, usual if parsed.port is None else parsed.port)
    return Address(str(parsed), origin, parsed.netloc.decode("ascii"), parsed.raw_path.decode("ascii"))


_host = lru_cache(maxsize=REMEMBERED)(_parsed)
