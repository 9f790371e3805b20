"""Remote names are hostile: every path is judged before the first byte is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

RESERVED = frozenset({".downloading", ".artifact.sha256"})
MAX_PART_BYTES = 255
MAX_PATH_BYTES = 3072
MAX_SHOWN = 80
FIRST_PRINTABLE = 0x20
DELETE = 0x7F


def check_names(paths: Iterable[str], uri: str) -> None:
    """Raise ConfigurationError naming the first path that cannot or must not become a file below the target."""
    files: set[str] = set()
    folders: dict[str, str] = {}
    for path in paths:
        problem = _problem(path)
        if problem is None and path in files:
            problem = "is listed twice"
        if problem is not None:
            raise refused(path, problem, uri)
        files.add(path)
        end = path.find("/")
        while end != -1:
            folders.setdefault(path[:end], path)
            end = path.find("/", end + 1)
    for folder, below in folders.items():
        if folder in files:
            raise refused(folder, f"is a file while {below[:MAX_SHOWN]!r} needs a folder of that name", uri)


def refused(path: str, problem: str, uri: str) -> ConfigurationError:
    """Return the error for one name."""
    hint = "rename it at the source, or leave it out with --exclude"
    return ConfigurationError(f"{uri} has a name that is refused: {path[:MAX_SHOWN]!r} {problem}", hint=hint)


def _problem(path: str) -> str | None:
    parts = path.split("/")
    rules = (
        ("is not a relative path", not path or path.startswith("/")),
        ("has an empty, '.' or '..' part", any(part in ("", ".", "..") for part in parts)),
        ("has control characters", any(ord(letter) < FIRST_PRINTABLE or ord(letter) == DELETE for letter in path)),
        ("is not valid text", any("\ud800" <= letter <= "\udfff" for letter in path)),
        ("collides with a name that this program uses itself", parts[0] in RESERVED),
        ("is too long for a file system", _too_long(path, parts)),
    )
    return next((problem for problem, broken in rules if broken), None)


def _too_long(path: str, parts: list[str]) -> bool:
    sizes = [len(part.encode(errors="replace")) for part in parts]
    return max(sizes) > MAX_PART_BYTES or len(path.encode(errors="replace")) > MAX_PATH_BYTES
