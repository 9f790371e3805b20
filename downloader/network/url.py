"""Addresses: whom to ask, and for what. Each file of an artifact has one, so the usual kind is not parsed but cut."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import httpx2

HTTP_PORT, HTTPS_PORT = 80, 443
REMEMBERED = 1024
"""Each is needed several times while its file is fetched."""
_SIGN, _ENCODED = r"[A-Za-z0-9._~!$&'()*+,=:@-]++", r"%[0-9A-Fa-f]{2}"
_TARGET = rf"(?:/(?!\.)(?:{_SIGN}|{_ENCODED})*+)++(?:\?(?:[/?]++|{_SIGN}|{_ENCODED})++)?"
PLAIN = re.compile(rf"(https?://[^/?#@\\\s]++)({_TARGET})")
"""Scheme with host, and a path that means itself: nothing to encode, and no part that begins with a dot."""
ROOTED = re.compile(rf"(?!//){_TARGET}")
"""A redirect to a path of the same host."""


class Origin(NamedTuple):
    """Scheme, host and port: who answers, and who may see a credential."""

    scheme: str
    host: str
    port: int

    def shares_credentials_with(self, other: Origin) -> bool:
        """Tell whether what is secret may go there, too: to the same host when http becomes https, and to no other.

        As curl and others have it: only between the usual ports, behind which there is one owner.
        """
        upgraded = Origin("http", self.host, HTTP_PORT), Origin("https", self.host, HTTPS_PORT)
        return self == other or (self, other) == upgraded


class Address(NamedTuple):
    """A parsed URL."""

    url: str
    origin: Origin
    authority: str
    """The host, and the port where it is not the scheme's own: what `Host` says."""
    target: str
    """Path and query, as they are sent."""

    def join(self, location: str) -> Address:
        """Return where a redirect to there leads. Raises httpx2.InvalidURL."""
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
    """Let httpx2 do it, which takes longer than the file needs to come."""
    parsed = httpx2.URL(url)
    scheme, host = parsed.scheme, parsed.raw_host.decode("ascii")
    origin = Origin(scheme, host, parsed.port or (HTTPS_PORT if scheme == "https" else HTTP_PORT))
    return Address(str(parsed), origin, parsed.netloc.decode("ascii"), parsed.raw_path.decode("ascii"))


_host = lru_cache(maxsize=REMEMBERED)(_parsed)
