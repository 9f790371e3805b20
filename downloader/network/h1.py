"""Writes the heads of requests and parses the common heads of responses (RFC 9112).

`http.client` parses a head as an e-mail, which takes longer than the transfer of a small file. So common heads are
parsed by a regular expression, which accepts a strict subset of what `http.client` accepts and gives the same result.
`Connection` leaves all others to `http.client` (ADR 32). ADR 65 says why httptools replaces neither.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from downloader.artifact import MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORBIDDEN = re.compile(r"[\r\n\0]")
MAX_FIELDS = 100
"""As many as `http.client` accepts."""
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_TEXT = rb"[\t\x20-\x7e]*+"
COMMON_HEAD = re.compile(
    rb"HTTP/1\.1 (?!204|304)([2-5][0-9]{2})(?: " + _TEXT + rb")?\r\n((?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*+)\r\n"
)
STATUS_LINE = re.compile(rb"HTTP/1\.1 [2-5][0-9]{2}[ \r]")
AROUND = " \t"
"""What may stand around a value, and does not belong to it."""
END_OF_HEAD = re.compile(rb"\n\r?\n")
"""A recipient may take a bare LF for the end of a line (RFC 9112, section 2.2), and `http.client` does."""
MAX_DIGITS = len(str(MAX_SIZE))
"""Digits of a number of bytes."""


class Head(NamedTuple):
    """The head of a response."""

    status: int
    fields: Mapping[str, str]
    """Values by name in lower case; those of a repeated field are joined with commas."""
    length: int | None
    """Bytes of the body, 0 if it has none; None if only its end shows its length."""
    closes: bool
    """The server closes the connection after the response."""


def parse_common_head(
    data: bytes | bytearray, method: str, start: int = 0, stop: int = sys.maxsize
) -> tuple[Head, int] | None:
    """Return the head at `start` and its length in bytes; None if it is not whole before `stop`, or no common one."""
    found = COMMON_HEAD.match(data, start, stop)
    if found is None:
        return None
    lines = found[2].decode("ascii").split("\r\n")
    if len(lines) > MAX_FIELDS:
        return None
    pairs = list(map(_field, lines[:-1]))
    fields = dict(pairs)
    if len(fields) < len(pairs):
        fields = {name: ", ".join(value for other, value in pairs if other == name) for name in fields}
    length = fields.get("content-length", "")
    if "transfer-encoding" in fields or not is_number(length):
        return None
    closes = "close" in fields.get("connection", "").lower()
    return Head(int(found[1]), fields, 0 if method == "HEAD" else int(length), closes), found.end() - start


def is_number(text: str) -> bool:
    """Tell whether a text is a number of bytes, in ASCII digits and not in those of other scripts."""
    return text.isdigit() and text.isascii() and len(text) <= MAX_DIGITS


def is_begun(data: bytes | bytearray, start: int, stop: int) -> bool:
    """Tell whether a head between these has come in part, with what may be a common one's first line."""
    return END_OF_HEAD.search(data, start, stop) is None and STATUS_LINE.match(data, start, stop) is not None


@lru_cache(maxsize=64)
def _field(line: str) -> tuple[str, str]:
    """Return name and value of a line. Most lines recur in every response; the cache is small, as lines may be long."""
    name, _, value = line.partition(":")
    return name.lower(), value.strip(AROUND)


def request_head(method: str, target: str, fields: bytes) -> bytes:
    """Return the head of a request. Raises ValueError for characters that a target must not have."""
    if FORBIDDEN.search(target):
        raise ValueError("the target has characters that would end its line")
    return f"{method} {target} HTTP/1.1\r\n".encode("ascii") + fields + b"\r\n"


def field_lines(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the lines of fields. Raises ValueError for characters that a field must not have."""
    return b"".join([_line(name, value) for name, value in fields])


@lru_cache(maxsize=256)
def _line(name: str, value: str) -> bytes:
    """Return one line. Most lines are in every request, so they are cached."""
    if FORBIDDEN.search(name) or FORBIDDEN.search(value) or not name.strip():
        raise ValueError("a field has characters that would end its line")
    return f"{name}: {value}\r\n".encode("ascii")
