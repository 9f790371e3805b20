"""What a web server's error status means where the source knows nothing more special about it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from downloader.error_map import ErrorRow, map_error
from downloader.errors import AccessDenied, DownloadError, ProtocolFailed, SourceNotFound, SourceUnavailable
from downloader.network import address
from downloader.sources.pasted import s3_uri

if TYPE_CHECKING:
    from downloader.network import HttpStatusError

MISSING = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
DENIED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})
RUN_OUT = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN})
"""How stores refuse a signed URL that has expired, or one that something on the way blocks."""
EXPIRED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
"""How a store refuses a signature that was good once."""
STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the rows of the table look at."""

    error: HttpStatusError
    asked: str
    """The URL that was asked for, before redirects."""
    listed: bool
    part: bool

    @property
    def status(self) -> int:
        return self.error.status

    @property
    def elsewhere(self) -> bool:
        """Redirects led to another host."""
        return not address(self.asked).origin.shares_credentials_with(address(self.error.url).origin)

    @property
    def expired(self) -> bool:
        """The signature in the address is over, by what it says itself or by what the server says."""
        return has_run_out(self.asked) or "expired" in self.error.server_message.lower()


_STATUSES: tuple[ErrorRow[_Answer, DownloadError], ...] = (
    # The other host's word is not final: its address may have run out, and a new one may do.
    ErrorRow(
        lambda it: it.status in RUN_OUT | (MISSING | DENIED if it.listed else frozenset()) and it.elsewhere,
        SourceUnavailable,
        "{what} was refused ({who})",
    ),
    ErrorRow(
        lambda it: it.status in EXPIRED and it.expired,
        AccessDenied,
        "the signature in the address of {what} has expired ({who})",
        "ask for a new address",
    ),
    ErrorRow(lambda it: it.status in MISSING, SourceNotFound, "{what} does not exist ({who})", "check the URI"),
    # Some servers refuse a part of what they hand out as a whole, and some more than a few connections.
    ErrorRow(
        lambda it: it.status == HTTPStatus.FORBIDDEN and it.part,
        ProtocolFailed,
        "{what} is not handed out in parts ({who})",
        "HTTP reads it in one stream",
    ),
    ErrorRow(lambda it: it.status in DENIED, AccessDenied, "{what} may not be read ({who})", "{hint}"),
)


def map_status_error(
    error: HttpStatusError, what: str, *, hint: str, asked: str, listed: bool = False, part: bool = False
) -> DownloadError:
    """Return what an error status means; the error itself where it means nothing more.

    `what` names the file, `hint` says how to show credentials, `asked` is the URL before redirects. The file has been
    `listed` before, and only a `part` of it was asked for.
    """
    if uri := s3_uri(asked):
        hint = f"to use credentials of S3, write {uri}"
    told = f": {error.server_message}" if error.server_message else ""
    who = f"{error.host} answered HTTP {error.status}{told}"
    return map_error(_STATUSES, _Answer(error, asked, listed, part), what=what, who=who, hint=hint) or error


def has_run_out(url: str) -> bool:
    """Tell whether a signed URL names an expiry that has passed, in the notation of AWS, Google or Azure."""
    query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    for vendor in ("x-amz", "x-goog"):
        made, lasts = query.get(f"{vendor}-date", ""), query.get(f"{vendor}-expires", "")
        if STAMP.fullmatch(made) and SECONDS.fullmatch(lasts):
            return _moment(made) + int(lasts) < time.time()
    end = query.get("expires", "")
    if SECONDS.fullmatch(end) and ("signature" in query or "key-pair-id" in query):
        return int(end) < time.time()
    return "sig" in query and 0 < _moment(query.get("se", "")) < time.time()


def _moment(text: str) -> float:
    """Return the seconds since the epoch of an ISO date with its zone; 0 for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return moment.timestamp() if moment.tzinfo is not None else 0.0
