"""What a web server's refusal means where nothing more special is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.errors import AccessDenied, DownloadError, SourceNotFound, SourceUnavailable
from downloader.wire.address import address

if TYPE_CHECKING:
    from downloader.wire import Refusal

MISSING = frozenset({404, 410})
DENIED = frozenset({401, 403, 407})
RUN_OUT = frozenset({400, 403})
"""How stores refuse an address that has run out, or that something on the way blocks."""


def meaning(refusal: Refusal, what: str, *, hint: str, asked: str, listed: bool = False) -> DownloadError:
    """Return the error for a refused request; `what` names the thing, `hint` says how to show credentials.

    Where redirects lead from `asked` to another host, that one's word is not final for a file that has been `listed`:
    its address may have run out, and a new one may do.
    """
    told = f": {refusal.server_message}" if refusal.server_message else ""
    who = f"{refusal.host} answered HTTP {refusal.status}{told}"
    elsewhere = not address(asked).origin.shares_credentials_with(address(refusal.url).origin)
    if elsewhere and (refusal.status in RUN_OUT or (listed and refusal.status in MISSING | DENIED)):
        return SourceUnavailable(f"{what} was refused ({who})")
    if refusal.status in MISSING:
        return SourceNotFound(f"{what} does not exist ({who})", hint="check the URI")
    if refusal.status in DENIED:
        return AccessDenied(f"{what} may not be read ({who})", hint=hint)
    return refusal
