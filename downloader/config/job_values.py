"""Values that the variables of a run may have, and how their texts are read."""

from __future__ import annotations

import re

from downloader.artifact import TransferProtocol
from downloader.config.env import Malformed, items, seconds
from downloader.deadlines import VOLUME_TIMEOUT
from downloader.presets import FORM, Preset

SKIP, REFUSE = "skip", "refuse"
KEEP, DROP = "keep", "drop"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
BANDWIDTH_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def protocols(text: str) -> tuple[TransferProtocol, ...]:
    """Parse a protocol sequence; names may repeat."""
    names = items(text.upper())
    if not names or any(name not in TransferProtocol.__members__ for name in names):
        raise Malformed(f"a comma list of {', '.join(TransferProtocol)}")
    return tuple(TransferProtocol[name] for name in names)


def volume_timeout(text: str) -> float:
    """Parse DU_TIMEOUT: invalid values mean the default, as in the operator's image."""
    try:
        return seconds(text)
    except Malformed:
        return VOLUME_TIMEOUT


def preset(text: str) -> Preset:
    """Parse AIM_ONLY."""
    try:
        return Preset.parse(text)
    except ValueError:
        raise Malformed(FORM) from None


def unsafe_names(text: str) -> str:
    """Parse AIM_UNSAFE_NAMES."""
    if text.lower() not in (SKIP, REFUSE):
        raise Malformed(f"{SKIP} or {REFUSE}")
    return text.lower()


def page_cache(text: str) -> bool:
    """Parse AIM_PAGE_CACHE: whether to keep files there."""
    if text.lower() not in (KEEP, DROP):
        raise Malformed(f"{KEEP} or {DROP}")
    return text.lower() == KEEP


def bandwidth(text: str) -> int:
    """Parse bytes per second with an optional K, M or G (powers of ten)."""
    number = text.upper().removesuffix("/S").removesuffix("B")
    unit = number[-1:] if number[-1:] in "KMG" else ""
    try:
        value = int(float(number.removesuffix(unit)) * BANDWIDTH_UNITS[unit])
    except (ValueError, OverflowError):
        value = 0
    if value < 1:
        raise Malformed("a rate in bytes per second such as 200M")
    return value


def artifact_digest(text: str) -> str:
    """Parse AIM_EXPECTED_DIGEST."""
    digest = text.lower()
    if not _DIGEST.fullmatch(digest):
        raise Malformed("`sha256:` and 64 hexadecimal digits")
    return digest
