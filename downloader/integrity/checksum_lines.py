"""One line of a checksum list, as sha256sum(1) reads and writes it."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from downloader.errors import IntegrityError
from downloader.formatting import single_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64})(?: [ *]|[ \t](?=[^ *]))(.+)")
_TAGGED = re.compile(r"(\\?)SHA(?:2-)?256 ?\((.+)\) ?= ?([0-9a-fA-F]{64})")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_TABLE = str.maketrans(_ESCAPES)
_STEPS = frozenset({"", ".", ".."})
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_MAX_PATH_LENGTH = 4096
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_DIGITS_OF = {32: "MD5", 40: "SHA-1", 56: "SHA-224", 96: "SHA-384", 128: "SHA-512"}
_OTHER_ALGORITHM = re.compile(
    r"\\?(?:([A-Za-z][A-Za-z0-9/-]{1,20}) ?\(.+\) ?= ?[0-9a-fA-F]+|([0-9a-fA-F]{32,128})[ \t].+)"
)


def numbered_lines(raw: bytes, name: str) -> Iterator[tuple[int, str]]:
    """Yield each line that is not empty, and its number. A list of empty lines takes many times the room of a file."""
    for number, line in enumerate(io.BytesIO(raw.removeprefix(_BYTE_ORDER_MARK)), 1):
        plain = line.removesuffix(b"\n").removesuffix(b"\r")
        if plain:
            try:
                yield number, plain.decode()
            except UnicodeDecodeError as error:
                encoding = " but UTF-16" if raw.startswith(_UTF_16) else ""
                raise IntegrityError(f"{name} is not UTF-8{encoding}") from error


def parse_line(line: str, number: int, name: str) -> tuple[str, str]:
    """Return path and sha256 of line `number` of the list `name`. Raises IntegrityError if it has none."""
    bare = line.lstrip(" \t")
    if found := _LINE.fullmatch(bare):
        escaped, digest, path = found.groups()
    elif found := _TAGGED.fullmatch(bare):
        escaped, path, digest = found.groups()
    else:
        raise IntegrityError(f"line {number} of {name} {_what_it_is(bare)}")
    if escaped:
        path = unescape(path, number, name)
    path = path.removeprefix("./")
    too_long = len(path.encode()) > _MAX_PATH_LENGTH
    if too_long or _CONTROL.search(path) or not _STEPS.isdisjoint(path.split("/")):
        raise IntegrityError(f"line {number} of {name} has an impossible path: {single_line(path, 200)}")
    return path, digest.lower()


def _what_it_is(line: str) -> str:
    other = _OTHER_ALGORITHM.fullmatch(line)
    algorithm = (other[1] or _DIGITS_OF.get(len(other[2]), "")) if other else ""
    if algorithm:
        return f"has a checksum by {algorithm}, and only SHA-256 is read: {single_line(line, 200)}"
    return f"is not a checksum: {single_line(line, 200)}"


def line_of(digest: str, path: str) -> str:
    """Return the line of a file."""
    escaped = escape(path)
    marker = "" if escaped == path else "\\"
    return f"{marker}{digest}  {escaped}\n"


def escape(path: str) -> str:
    """Return a path as it stands in a line that begins with a backslash."""
    # Hardly any path has one of these, and to find out by translating takes six times as long.
    return path.translate(_TABLE) if "\\" in path or "\n" in path or "\r" in path else path


def unescape(path: str, number: int, name: str) -> str:
    """Return the path that was escaped. Raises IntegrityError for an escape that there is not."""
    plain = {escape[1]: character for character, escape in _ESCAPES.items()}
    try:
        return _ESCAPED.sub(lambda found: plain[found[1]], path)
    except KeyError as error:
        raise IntegrityError(f"line {number} of {name} has an unknown escape") from error
