"""Where a web server's file or folder is, and with whose credentials it is asked for."""

from __future__ import annotations

import logging
import netrc
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from downloader.artifact import Algorithm, Digest, shown_url
from downloader.config.addresses import basic
from downloader.errors import ConfigurationError, UsageError
from downloader.formatting import reason
from downloader.integrity import FRAGMENTS, SPECS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FRAGMENT = re.compile(rf"({'|'.join(FRAGMENTS)})[=:]([0-9a-fA-F]+)")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """A parsed `http(s)://` URI."""

    url: str
    """What is fetched: without user, password and fragment."""
    authorization: str = field(default="", repr=False)
    digest: Digest | None = None

    @classmethod
    def parse(cls, uri: str) -> HttpAddress:
        """Raise UsageError for anything that is not an http(s) URL with a host."""
        try:
            parts = urlsplit(uri)
            port = f":{parts.port}" if parts.port is not None else ""
        except ValueError as error:
            raise UsageError(f"{shown_url(uri)} is not a web address: {error}") from error
        if not parts.hostname or not parts.hostname.isprintable():
            raise UsageError(f"{shown_url(uri)} names no host", hint="write http(s)://host/path")
        if parts.port == 0:
            raise UsageError(f"{shown_url(uri)} names port 0, at which no server can be", hint="leave it away")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        authorization = ""
        if parts.username is not None:
            authorization = basic(unquote(parts.username), unquote(parts.password or ""))
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        return cls(
            urlunsplit((parts.scheme, host + port, path, parts.query, "")), authorization, _fragment(parts.fragment)
        )

    @property
    def folder(self) -> bool:
        """The URI names a folder."""
        return urlsplit(self.url).path.endswith("/")

    def below(self, path: str) -> str:
        """Return the URL of a file in the folder; a query, which may hold a signature, is for every file."""
        folder, mark, query = self.url.partition("?")
        return folder + quote(path) + mark + query

    @property
    def name(self) -> str:
        """The last part of the path, decoded."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


def _fragment(fragment: str) -> Digest | None:
    if not fragment:
        return None
    match = FRAGMENT.fullmatch(fragment)
    if match is None or len(match.group(2)) != 2 * SPECS[Algorithm(match.group(1))].length:
        raise UsageError(f"#{fragment[:80]} is not a digest", hint="write #sha256= and 64 hexadecimal digits")
    return Digest(Algorithm(match.group(1)), match.group(2).lower())


def credentials(address: HttpAddress, headers: Mapping[str, str], netrc_file: Path | None) -> dict[str, str]:
    """Return the headers for the URI's own origin; what the URI says beats the environment, that beats netrc."""
    chosen = {name.lower(): value for name, value in headers.items()}
    if address.authorization:
        chosen["authorization"] = address.authorization
    if "authorization" not in chosen and netrc_file is not None and _is_there(netrc_file):
        try:
            entry = netrc.netrc(str(netrc_file)).authenticators(urlsplit(address.url).hostname or "")
        except netrc.NetrcParseError as error:  # its message quotes words, and they may be passwords
            why = f"line {error.lineno} is not as in a netrc file"
            raise ConfigurationError(f"{netrc_file} cannot be read: {why}", hint="mend or remove it") from error
        except (OSError, UnicodeError) as error:
            raise ConfigurationError(
                f"{netrc_file} cannot be read: {reason(error)}", hint="mend or remove it"
            ) from error
        if entry is not None:
            chosen["authorization"] = basic(entry[0], entry[2])
    return chosen


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError as error:  # a home that is closed to a random user, for example
        log.warning("cannot access %s: %s", file, error.strerror)
        return False
