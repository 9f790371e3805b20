"""What hf_xet's errors mean, in plain words: it raises builtins, and only their texts tell them apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from downloader.error_map import ErrorRow, map_error
from downloader.errors import ProtocolFailed, SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.errors import DownloadError


class Unreachable(ProtocolFailed):
    """hf_xet cannot send a request to a server, and does not say why. `origin` is that server's address."""

    def __init__(self, message: str, *, hint: str = "", origin: str = "") -> None:
        super().__init__(message, hint=hint)
        self.origin = origin


ORIGIN = re.compile(r"https?://([^/\s)?]+)")
STATUS = re.compile(r"(?:server|client) error \((\d{3}) ")


def _says(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.search(text) is not None


_TEXTS: tuple[ErrorRow[str, DownloadError], ...] = (
    ErrorRow(_says(r"Rate limited|\(429 "), SourceUnavailable, "{storage} asks for a pause (HTTP 429)"),
    ErrorRow(_says(r"server error \(\d{3} "), SourceUnavailable, "{storage} fails (HTTP {status})"),
    ErrorRow(_says(r"client error \(\d{3} "), ProtocolFailed, "{storage} refuses us (HTTP {status})"),
    # Whether the server is down or its certificate is not trusted, hf_xet does not tell: our own client finds out.
    ErrorRow(_says(r"error sending request"), Unreachable, "{storage} cannot be reached, or does not answer"),
    ErrorRow(
        _says(r"decoding response body|unexpected end of file"),
        SourceUnavailable,
        "{storage} broke the connection, or its answer is garbled",
    ),
    ErrorRow(_says(r"Data integrity|Malformed"), ProtocolFailed, "{storage} sends damaged data"),
    ErrorRow(
        _says(r"expected \d+ uncompressed bytes"), ProtocolFailed, "{storage} sends other bytes than it was asked for"
    ),
    ErrorRow(_says(r"Data sender was dropped"), SourceUnavailable, "{storage} broke off without saying why"),
)
"""By hf_xet's own words, of the version that is pinned."""


def map_text(path: str, text: str) -> DownloadError:
    """Return our error for what hf_xet said about a file."""
    server, status = ORIGIN.search(text), STATUS.search(text)
    storage = f"{path}: Xet's storage {server[1]}" if server else f"{path}: Xet's storage"
    error = map_error(_TEXTS, text, storage=storage, status=status[1] if status else "")
    if isinstance(error, Unreachable) and server:
        error.origin = server[0]
    return error or ProtocolFailed(f"{path}: Xet failed: {text}")


def ended_early(path: str, missing: int) -> DownloadError:
    """Return the error for a stream without one: hf_xet sometimes swallows its own, and asked again it names it."""
    return SourceUnavailable(f"{path}: Xet's storage broke off {missing} bytes too early")
