"""Addresses in the environment: parsed once, at the start, with their passwords apart so that none is ever shown."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from downloader.config.env import Malformed

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
UNFIT = re.compile(r"[\s\\\0-\x1f\x7f]")
"""What no address has; most libraries take some of it, and each for something else."""
WEB = frozenset({"http", "https"})
EXAMPLE = "an address such as https://host:port"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is. `url` holds no login and ends without a slash; an IPv6 `host` has no brackets."""

    url: str
    scheme: str
    host: str
    port: int | None
    authorization: str = field(default="", repr=False)
    """The login as the value of an `Authorization` header."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What the redactor has to know."""

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Parse `scheme://[user:password@]host[:port][/path]`. Raises Malformed, which quotes nothing of it."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise Malformed(EXAMPLE) from None
        host = parts.hostname or ""
        # An `@` in the path is the end of a password that has a slash in it.
        odd = UNFIT.search(text) or "@" in parts.path or "?" in text or "#" in text or port == 0
        if odd or not SCHEME.match(text) or not host:
            raise Malformed(EXAMPLE)
        shown = f"[{host}]" if ":" in host else host
        place = f"{shown}:{port}" if port is not None else shown
        url = f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
        if parts.username is None:
            return cls(url, parts.scheme, host, port)
        authorization = basic(unquote(parts.username), unquote(parts.password or ""))
        # A user without a password is a token. One with a password is a name, which may stand in ordinary words.
        secret = parts.password or parts.username
        return cls(url, parts.scheme, host, port, authorization, (secret, authorization))

    def __str__(self) -> str:
        return self.url


def basic(user: str, password: str) -> str:
    """Return the value of an `Authorization` header for a user and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def web_endpoint(text: str) -> Endpoint:
    """Parse the address of a web service, which may have a login in it."""
    endpoint = Endpoint.parse(text)
    if endpoint.scheme not in WEB:
        raise Malformed(EXAMPLE)
    return endpoint


def proxy_endpoint(text: str) -> Endpoint:
    """Parse the address of a proxy of any kind; one without a scheme speaks HTTP."""
    return Endpoint.parse(text if "://" in text else f"http://{text}")
