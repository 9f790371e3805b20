"""Heads: how requests are written, and the usual answers read.

`http.client` reads a head with the parser for e-mail, which takes longer than a small file needs to come. So the usual
head is read by one pattern that takes a part of what `http.client` takes, and means the same; any other is left to it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORBIDDEN = re.compile(r"[\r\n\0]")
MOST_FIELDS = 100
"""As many as `http.client` takes."""
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_TEXT = rb"[\t\x20-\x7e]*+"
USUAL = re.compile(
    rb"HTTP/1\.1 (?!204|304)([2-5][0-9]{2})(?: " + _TEXT + rb")?\r\n((?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*+)\r\n"
)
LENGTH = re.compile(r"[0-9]{1,19}")


class Head(NamedTuple):
    """What an answer says before its body."""

    status: int
    fields: Mapping[str, str]
    """By name in lower case; what came several times under one name is joined."""
    length: int | None
    """Bytes of the body, 0 where there is none; None where only its end will tell."""
    closes: bool
    """The connection ends with the answer."""


def usual_head(data: bytes, method: str) -> tuple[Head, int] | None:
    """Read the head that `data` begins with; returns it and how long it is, None if it is not a usual one."""
    found = USUAL.match(data)
    if found is None:
        return None
    lines = found[2].decode("ascii").split("\r\n")
    if len(lines) > MOST_FIELDS:
        return None
    pairs = [_field(line) for line in lines[:-1]]
    fields = dict(pairs)
    if len(fields) < len(pairs):
        fields = {name: ", ".join(value for other, value in pairs if other == name) for name in fields}
    length = fields.get("content-length", "")
    if "transfer-encoding" in fields or not LENGTH.fullmatch(length):
        return None
    closes = "close" in fields.get("connection", "").lower()
    return Head(int(found[1]), fields, 0 if method == "HEAD" else int(length), closes), found.end()


@lru_cache(maxsize=64)
def _field(line: str) -> tuple[str, str]:
    """Return name and value of a line: most are in every response. Few are remembered, since they may be long."""
    name, _, value = line.partition(":")
    return name.lower(), value.lstrip(" \t")


def request_head(method: str, target: str, fields: bytes) -> bytes:
    """Return the head of a request. Raises ValueError for a target that cannot be one."""
    if FORBIDDEN.search(target):
        raise ValueError("the address holds what would end the line")
    return f"{method} {target} HTTP/1.1\r\n".encode("ascii") + fields + b"\r\n"


def field_lines(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return fields as they are sent. Raises ValueError for what no field may hold."""
    return b"".join([_line(name, value) for name, value in fields])


@lru_cache(maxsize=256)
def _line(name: str, value: str) -> bytes:
    """Return one line: most are in every request."""
    if FORBIDDEN.search(name) or FORBIDDEN.search(value) or not name.strip():
        raise ValueError("a field holds what would end its line")
    return f"{name}: {value}\r\n".encode("ascii")
