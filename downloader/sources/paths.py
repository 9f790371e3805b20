"""Remote names are hostile: every path is judged before the first byte is fetched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from downloader.artifact import Paths
from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESERVED = frozenset({".downloading", ".artifact.sha256"})
MAX_PART_BYTES = 255
MAX_PATH_BYTES = 3072
MAX_FOLDERS = 128
"""Folders on the way to a file: no model has ten, and each costs a step at each operation, also for other programs."""
MAX_SHOWN = 80
STEPS = frozenset({".", ".."})
NOT_NAMES = STEPS | {""}
CONTROL = re.compile(r"[\0-\x1f\x7f]")
SURROGATE = re.compile("[\ud800-\udfff]")
PLAIN = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}/){0,9}[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
"""Most names: no rule is against any of these, and they are judged in a tenth of the time."""


class PathValidator:
    """The names of one artifact, judged as they come: what a listing without end holds must not be kept first."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._files: list[str] = []

    def add(self, path: str) -> None:
        """Raise ConfigurationError for a path that must not become a file below the target."""
        require_name(path, self._uri)
        self._files.append(path)

    def finish(self) -> None:
        """Raise ConfigurationError for a path that came twice, or that is a file while another needs it as a folder."""
        self._files.sort()
        require_apart(self._files, self._uri)


def require_name(path: str, uri: str) -> None:
    """Raise ConfigurationError for a path that must not become a file below the target."""
    if (problem := _problem(path)) is not None:
        raise refused(path, problem, uri)


def require_apart(paths: Sequence[str], uri: str) -> None:
    """Raise ConfigurationError if two of the paths, which are in order, cannot both be files."""
    known = Paths(paths)
    before = None
    checked = ""
    for path in known.sorted:
        if path == before:
            raise refused(path, "is listed twice", uri)
        before = path
        folder = path.rpartition("/")[0]
        if folder == checked:
            continue
        # No folder is kept: a path of many short parts has a thousand times its own length of them.
        end = path.find("/")
        while end != -1:
            if path[:end] in known:
                problem = f"is a file while {path[:MAX_SHOWN]!r} needs a folder of that name"
                raise refused(path[:end], problem, uri)
            end = path.find("/", end + 1)
        checked = folder


def check_names(paths: Iterable[str], uri: str) -> None:
    """Raise ConfigurationError naming the first path that cannot or must not become a file below the target."""
    names = PathValidator(uri)
    for path in paths:
        names.add(path)
    names.finish()


def is_step(path: str) -> bool:
    """Tell whether parts of a path are steps in a folder tree and no names: such a file could end up anywhere."""
    return not STEPS.isdisjoint(path.split("/"))


def refused(path: str, problem: str, uri: str) -> ConfigurationError:
    """Return the error for one name."""
    hint = "rename it at the source, or leave it out with --exclude"
    return ConfigurationError(f"{uri} has a name that is refused: {path[:MAX_SHOWN]!r} {problem}", hint=hint)


def _problem(path: str) -> str | None:
    if PLAIN.fullmatch(path):
        return None
    parts = path.split("/")
    rules = (
        ("is not a relative path", not path or path.startswith("/")),
        ("has an empty, '.' or '..' part", not NOT_NAMES.isdisjoint(parts)),
        ("has control characters", CONTROL.search(path) is not None),
        ("is not valid text", SURROGATE.search(path) is not None),
        ("collides with a name that this program uses itself", parts[0] in RESERVED),
        ("is too long for a file system", _too_long(path, parts)),
        (f"is more than {MAX_FOLDERS} folders deep", len(parts) > MAX_FOLDERS + 1),
    )
    return next((problem for problem, broken in rules if broken), None)


def _too_long(path: str, parts: list[str]) -> bool:
    sizes = [len(part.encode(errors="replace")) for part in parts]
    return max(sizes) > MAX_PART_BYTES or len(path.encode(errors="replace")) > MAX_PATH_BYTES
