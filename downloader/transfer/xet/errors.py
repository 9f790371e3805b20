"""What hf_xet's errors mean, in plain words: it raises builtins, and only their texts tell them apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from downloader.errors import ProtocolFailed, SourceUnavailable

if TYPE_CHECKING:
    from downloader.errors import DownloadError


class Unreachable(ProtocolFailed):
    """hf_xet cannot send a request to a server, and does not say why. `origin` is that server's address."""

    def __init__(self, message: str, *, hint: str = "", origin: str = "") -> None:
        super().__init__(message, hint=hint)
        self.origin = origin


ORIGIN = re.compile(r"https?://([^/\s)?]+)")
RETRY, NEVER = SourceUnavailable, ProtocolFailed
MEANINGS: tuple[tuple[re.Pattern[str], type[DownloadError], str], ...] = (
    (re.compile(r"Rate limited|\(429 "), RETRY, "asks for a pause (HTTP 429)"),
    (re.compile(r"server error \((\d{3}) "), RETRY, "is in trouble (HTTP {0})"),
    (re.compile(r"client error \((\d{3}) "), NEVER, "refuses us (HTTP {0})"),
    (re.compile(r"error sending request"), Unreachable, "cannot be reached, or does not answer"),
    (
        re.compile(r"decoding response body|unexpected end of file"),
        RETRY,
        "broke the connection, or its answer is garbled",
    ),
    (re.compile(r"Data integrity|Malformed"), NEVER, "sends damaged data"),
    (re.compile(r"expected \d+ uncompressed bytes"), NEVER, "sends other bytes than it was asked for"),
    (re.compile(r"Data sender was dropped"), RETRY, "broke off without saying why"),
)
"""Pattern, what it means for the retry policy, and what the storage did. The first that fits counts."""


def meaning(path: str, text: str) -> DownloadError:
    """Return our error for what hf_xet said about a file."""
    server = ORIGIN.search(text)
    storage, origin = (f"Xet's storage {server[1]}", server[0]) if server else ("Xet's storage", "")
    for pattern, kind, deed in MEANINGS:
        found = pattern.search(text)
        if not found:
            continue
        message = f"{path}: {storage} {deed.format(*found.groups())}"
        return Unreachable(message, origin=origin) if kind is Unreachable else kind(message)
    return NEVER(f"{path}: Xet failed: {text}")


def ended_early(path: str, missing: int) -> DownloadError:
    """Return the error for a stream without one: hf_xet sometimes swallows its own, and asked again it names it."""
    return RETRY(f"{path}: Xet's storage broke off {missing} bytes too early")
