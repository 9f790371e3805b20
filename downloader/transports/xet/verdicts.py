"""What hf_xet's errors mean, in plain words: it raises builtins, and only their texts tell them apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from downloader.errors import ProtocolFailed, SourceUnavailable

if TYPE_CHECKING:
    from downloader.errors import DownloadError

HOST = re.compile(r"https?://([^/\s)?]+)")
AGAIN, NEVER = SourceUnavailable, ProtocolFailed
MEANINGS: tuple[tuple[re.Pattern[str], type[DownloadError], str], ...] = (
    (re.compile(r"Rate limited|\(429 "), AGAIN, "asks for a pause (HTTP 429)"),
    (re.compile(r"server error \((\d{3}) "), AGAIN, "is in trouble (HTTP {0})"),
    (re.compile(r"client error \((\d{3}) "), NEVER, "refuses us (HTTP {0})"),
    (re.compile(r"error sending request"), NEVER, "cannot be reached, or does not answer"),
    (
        re.compile(r"decoding response body|unexpected end of file"),
        AGAIN,
        "broke the connection, or its answer is garbled",
    ),
    (re.compile(r"Data integrity|Malformed"), NEVER, "sends damaged data"),
    (re.compile(r"expected \d+ uncompressed bytes"), NEVER, "sends other bytes than it was asked for"),
    (re.compile(r"Data sender was dropped"), AGAIN, "broke off without saying why"),
)
"""Pattern, what it means for the retry policy, and what the storage did. The first that fits counts."""


def meaning(path: str, text: str) -> DownloadError:
    """Return our error for what hf_xet said about a file."""
    host = HOST.search(text)
    storage = f"Xet's storage {host[1]}" if host else "Xet's storage"
    for pattern, kind, deed in MEANINGS:
        found = pattern.search(text)
        if found:
            return kind(f"{path}: {storage} {deed.format(*found.groups())}")
    return NEVER(f"{path}: Xet failed: {text}")


def ended_early(path: str, missing: int) -> DownloadError:
    """Return the error for a stream without one: hf_xet sometimes swallows its own, and asked again it names it."""
    return AGAIN(f"{path}: Xet's storage broke off {missing} bytes too early")
