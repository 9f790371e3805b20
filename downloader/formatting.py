"""Sizes, durations and lines as people read them: whatever prints one of these asks here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

import re

_KIB = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_THREE_DIGITS, _NEXT_UNIT = 99.95, 1023.5
"""From these numbers on, rounding ends in the next form: 100 instead of 100.0, and 1.0 MiB instead of 1024 KiB."""
_FOR_PROGRAMMERS = re.compile(r"\[Errno -?\d+\] ?|\[(?:SSL|X509)[^\]]*\] ?| ?\(_ssl\.c:\d+\)")
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TENTHS, _MINUTE, _HOUR, _DAY = 9.95, 60, 3600, 86400


def format_size(count: float) -> str:
    """Name a number of bytes: `1 byte`, `1.5 KiB`, `404 MiB`."""
    if count < _KIB:
        whole = int(count)
        return "1 byte" if whole == 1 else f"{whole} bytes"
    power = 0
    count /= _KIB
    while count >= _NEXT_UNIT and power < len(_UNITS) - 1:
        count /= _KIB
        power += 1
    return f"{count:.1f} {_UNITS[power]}" if count < _THREE_DIGITS else f"{count:.0f} {_UNITS[power]}"


def format_duration(seconds: float) -> str:
    """Name a duration by its two largest units: `0.4 s`, `32 s`, `2 min 3 s`, `1 h 5 min`, `2 d 4 h`."""
    if seconds < _TENTHS:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def reason(error: BaseException) -> str:
    """Tell why something failed in the words of the system or of a library, without those that only Python needs."""
    if isinstance(error, UnicodeError):
        return "it is no text in UTF-8"
    text = getattr(error, "strerror", None) or str(error)
    text = single_line(_FOR_PROGRAMMERS.sub("", text))
    return text or _WORDS.sub(" ", type(error).__name__.removesuffix("Error")).lower()


def single_line(text: str, limit: int | None = None) -> str:
    r"""Write text as one line that any terminal shows: what is not printable becomes an escape such as `\n`.

    At most `limit` characters, an ellipsis being the last one where something was cut off.
    """
    text = text.strip()
    if limit is not None:
        text = text[: limit + 1]  # an escape takes ten times the room of what it stands for
    if not text.isprintable():
        text = "".join(_visible(character) for character in text)
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return text


def names_text(names: Collection[str], shown: int = 5) -> str:
    """List names for people: the first few of them, in order, each on one line, and how many more there are."""
    listed = ", ".join(single_line(name, 100) for name in sorted(names)[:shown])
    return f"{listed} and {len(names) - shown} more" if len(names) > shown else listed


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
