"""What a web server's refusal means where nothing more special is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.errors import AccessDenied, DownloadError, SourceNotFound

if TYPE_CHECKING:
    from downloader.wire import Refusal

MISSING = frozenset({404, 410})
DENIED = frozenset({401, 403, 407})


def meaning(refusal: Refusal, what: str, *, hint: str) -> DownloadError:
    """Return the error for a refused request; `what` names the thing, `hint` says how to show credentials."""
    told = f": {refusal.server_message}" if refusal.server_message else ""
    who = f"{refusal.host} answered HTTP {refusal.status}{told}"
    if refusal.status in MISSING:
        return SourceNotFound(f"{what} does not exist ({who})", hint="check the URI")
    if refusal.status in DENIED:
        return AccessDenied(f"{what} may not be read ({who})", hint=hint)
    return refusal
