"""Formats sizes, durations, lists and lines for users."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

import re

_KIB = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_THREE_DIGITS, _NEXT_UNIT = 99.95, 1023.5
"""From these values on, rounding needs the next form: 100 instead of 100.0, and 1.0 MiB instead of 1024 KiB."""
_FOR_PROGRAMMERS = re.compile(r"\[Errno -?\d+\] ?|\[(?:SSL|X509)[^\]]*\] ?| ?\(_ssl\.c:\d+\)")
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TENTHS, _MINUTE, _HOUR, _DAY = 9.95, 60, 3600, 86400


def format_size(count: float) -> str:
    """Format a number of bytes: `1 byte`, `1.5 KiB`, `404 MiB`."""
    if count < _KIB:
        whole = int(count)
        return "1 byte" if whole == 1 else f"{whole} bytes"
    power = 0
    count /= _KIB
    while count >= _NEXT_UNIT and power < len(_UNITS) - 1:
        count /= _KIB
        power += 1
    return f"{count:.1f} {_UNITS[power]}" if count < _THREE_DIGITS else f"{count:.0f} {_UNITS[power]}"


def format_count(count: int, noun: str) -> str:
    """Format a number of things by their regular noun in the singular: `1 file`, `3 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_duration(seconds: float) -> str:
    """Format a duration in seconds by its two largest units: `0.4 s`, `32 s`, `2 min 3 s`, `1 h 5 min`, `2 d 4 h`."""
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
    """Return why something failed, in the words of the system or of a library, without codes for programmers."""
    if isinstance(error, UnicodeError):
        return "it is not UTF-8 text"
    text = getattr(error, "strerror", None) or str(error)
    text = single_line(_FOR_PROGRAMMERS.sub("", text))
    return text or _WORDS.sub(" ", type(error).__name__.removesuffix("Error")).lower()


def single_line(text: str, limit: int | None = None) -> str:
    r"""Return text as one line that any terminal can show: unprintable characters become escapes such as `\n`.

    At most `limit` characters, of which the last one is an ellipsis if the text was longer.
    """
    text = text.strip()
    if limit is not None:
        text = text[: limit + 1]  # before escaping, which makes a character up to ten times as long
    if not text.isprintable():
        text = "".join(_visible(character) for character in text)
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return text


def names_text(names: Collection[str], shown: int = 5) -> str:
    """Return the first `shown` of the sorted names as one line, and how many more there are."""
    listed = ", ".join(single_line(name, 100) for name in sorted(names)[:shown])
    return f"{listed} and {len(names) - shown} more" if len(names) > shown else listed


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
