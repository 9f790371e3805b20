"""What a web server's refusal means where nothing more special is known."""

from __future__ import annotations

import re
import time
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from downloader.errors import AccessDenied, DownloadError, ProtocolFailed, SourceNotFound, SourceUnavailable
from downloader.network import address

if TYPE_CHECKING:
    from downloader.network import HttpStatusError

MISSING = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
DENIED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})
RUN_OUT = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN})
"""How stores refuse an address that has run out, or that something on the way blocks."""


EXPIRED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
"""How a store refuses a signature that was good once."""
STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
SECONDS = re.compile(r"[0-9]{1,12}")


def meaning(
    refusal: HttpStatusError, what: str, *, hint: str, asked: str, listed: bool = False, part: bool = False
) -> DownloadError:
    """Return the error for a refused request; `what` names the thing, `hint` says how to show credentials.

    Where redirects lead from `asked` to another host, that one's word is not final for a file that has been `listed`:
    its address may have run out, and a new one may do. Some servers refuse a `part` of what they hand out as a whole,
    and some more than a few connections.
    """
    told = f": {refusal.server_message}" if refusal.server_message else ""
    who = f"{refusal.host} answered HTTP {refusal.status}{told}"
    elsewhere = not address(asked).origin.shares_credentials_with(address(refusal.url).origin)
    if elsewhere and (refusal.status in RUN_OUT or (listed and refusal.status in MISSING | DENIED)):
        return SourceUnavailable(f"{what} was refused ({who})")
    if refusal.status in EXPIRED and (has_run_out(asked) or "expired" in refusal.server_message.lower()):
        return AccessDenied(f"the signature in the address of {what} has expired ({who})", hint="ask for a new address")
    if refusal.status in MISSING:
        return SourceNotFound(f"{what} does not exist ({who})", hint="check the URI")
    if part and refusal.status == HTTPStatus.FORBIDDEN:
        return ProtocolFailed(f"{what} is not handed out in parts ({who})", hint="HTTP reads it in one stream")
    if refusal.status in DENIED:
        return AccessDenied(f"{what} may not be read ({who})", hint=hint)
    return refusal


def has_run_out(url: str) -> bool:
    """Tell whether a signed address says itself that its time is over, in the notation of AWS, Google or Azure."""
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
