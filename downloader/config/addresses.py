"""URLs in the environment. They are parsed once, and passwords are kept apart so that none is ever shown."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from downloader.config.env import Malformed

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
UNFIT = re.compile(r"[\s\\\0-\x1f\x7f]")
"""Characters that no URL contains. Libraries accept some of them, with different meanings."""
WEB = frozenset({"http", "https"})
EXAMPLE = "an address such as https://host:port"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The URL of a service. `url` has no login and no slash at its end; an IPv6 `host` has no brackets."""

    url: str
    scheme: str
    host: str
    port: int | None
    authorization: str = field(default="", repr=False)
    """The login as the value of an `Authorization` header; empty without one."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The texts that the redactor has to remove."""

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Parse `scheme://[user:password@]host[:port][/path]`. Raises Malformed, without quoting it."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise Malformed(EXAMPLE) from None
        host = parts.hostname or ""
        # An `@` in the path ends a password that contains a slash.
        malformed = UNFIT.search(text) or "@" in parts.path or "?" in text or "#" in text or port == 0
        if malformed or not SCHEME.match(text) or not host:
            raise Malformed(EXAMPLE)
        shown = f"[{host}]" if ":" in host else host
        place = f"{shown}:{port}" if port is not None else shown
        url = f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
        if parts.username is None:
            return cls(url, parts.scheme, host, port)
        authorization = basic(unquote(parts.username), unquote(parts.password or ""))
        # A user without a password is a token. A user with a password is a name, which may occur in ordinary text.
        secret = parts.password or parts.username
        return cls(url, parts.scheme, host, port, authorization, (secret, authorization))

    def __str__(self) -> str:
        return self.url


def basic(user: str, password: str) -> str:
    """Return the value of an `Authorization` header for a user and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def web_endpoint(text: str) -> Endpoint:
    """Parse the URL of a web service, which may contain a login."""
    endpoint = Endpoint.parse(text)
    if endpoint.scheme not in WEB:
        raise Malformed(EXAMPLE)
    return endpoint


def proxy_endpoint(text: str) -> Endpoint:
    """Parse the URL of a proxy of any kind; without a scheme it is an HTTP proxy."""
    return Endpoint.parse(text if "://" in text else f"http://{text}")


def is_service_address(url: str) -> bool:
    """Whether a URL is that of a web service, without a login: S3 services authenticate by keys."""
    try:
        return not web_endpoint(url).authorization
    except Malformed:
        return False


def uri_secrets(text: str) -> tuple[str, ...]:
    """Return what the redactor has to remove of a URI: the password or token of its login, tokens and signatures."""
    login, at, _ = text.partition("://")[2].partition("/")[0].rpartition("@")
    user, colon, password = login.partition(":")
    try:
        query = urlsplit(text).query
    except ValueError:  # it will be refused when it is parsed
        query = ""
    signed = (part for part in query.split("&") if "sig" in part.lower() or "token" in part.lower())
    return (*([password if colon else user] if at else []), *(part.partition("=")[2] for part in signed))
