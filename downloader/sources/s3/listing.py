"""From the keys of a listing to relative paths, and what is wrong with a key or a listing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from downloader.errors import ProtocolFailed, SourceUnavailable
from downloader.integrity import MARKER
from downloader.sources.paths import PathValidator, is_step, refused
from downloader.sources.s3.object_info import ARCHIVES
from downloader.sources.s3.pages import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.sources.s3.address import S3Address
    from downloader.sources.s3.client import S3ApiClient

MAX_OBJECTS = 1_000_000
LONGEST_KEY, LONGEST_TAG = 1024, 256
QUOTE = '"'
SLASHES = re.compile(r"/{2,}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    path: str
    """Relative to the folder that the URI names."""
    key: str
    size: int
    tag: str | None
    archive: bool
    """Its storage class may have to be restored before it can be read."""
    wanted: bool = True
    """The filters keep it."""


class Listing:
    """The objects of a folder, collected page by page."""

    def __init__(self, address: S3Address, wants: Callable[[str], bool], *, skip_unsafe: bool) -> None:
        """Keep what `wants` returns true for. `skip_unsafe` collects keys that lead out of the folder in `skipped`."""
        self._address = address
        self._where = address.uri_of(address.path)
        self._wants = wants
        self._skip_unsafe = skip_unsafe
        self._names = PathValidator(self._where)
        self._entries: dict[str, Entry] = {}
        self._count = 0
        self.skipped: list[str] = []
        """Keys with a '.' or '..' between slashes, as they were listed."""

    @property
    def entries(self) -> list[Entry]:
        """Every object, in the order of the listing."""
        return list(self._entries.values())

    def read(self, connection: S3ApiClient) -> None:
        """Read all pages.

        Raises ConfigurationError for a wanted key that is unsafe as a path, ProtocolFailed for foreign objects.
        """
        for page in Pages(connection, self._address.bucket, self._address.prefix):
            for item in page:
                self._add(item)
        self._names.finish()

    def _add(self, item: Mapping[str, Any]) -> None:
        self._count += 1
        if self._count > MAX_OBJECTS:
            raise ProtocolFailed(f"{self._where} holds more than {MAX_OBJECTS} objects")
        key, size, tag = item.get("Key", ""), item.get("Size", -1), _quoted(item.get("ETag"))
        if not key or size < 0:
            raise ProtocolFailed(f"the listing of {self._where} has an object without name or size")
        if not key.startswith(self._address.prefix):
            raise ProtocolFailed(
                f"the listing of {self._where} has an object of another folder: {key[:80]!r}",
                hint="the server does not list by prefix: check the endpoint",
            )
        path = relative_path(key, self._address.prefix)
        if (not path or path.endswith("/")) and not size:
            return  # the marker of an empty folder, as consoles create it
        wanted = self._wants(path)
        if wanted and self._skip_unsafe and is_step(path):
            self.skipped.append(key)
            return
        entry = Entry(path, key, size, tag, item.get("StorageClass") in ARCHIVES, wanted)
        known = self._entries.setdefault(path, entry)
        if known is entry:
            self._check(entry)
        # Pages of some servers overlap: the same facts again are not an error.
        elif (known.key, known.size, known.tag) != (key, size, tag):
            self._collide(known, entry)

    def _check(self, entry: Entry) -> None:
        if not entry.wanted:
            return
        path = entry.path
        if not path or path.endswith("/"):
            raise refused(path or entry.key, "is a folder's name but holds data", self._where)
        if len(entry.key) > LONGEST_KEY or len(entry.tag or "") > LONGEST_TAG:
            raise refused(entry.key, "has a key or a tag that no S3 object can have", self._where)
        if path != MARKER:
            self._names.add(path)

    def _collide(self, known: Entry, other: Entry) -> None:
        """Raise for two objects that would become one file, and for one that is listed twice with different facts."""
        if known.key == other.key:
            raise SourceUnavailable(
                f"the listing of {self._where} names {other.path[:80]!r} twice, with different sizes or tags",
                hint="the object was replaced meanwhile, or the server's pages contradict each other",
            )
        if other.wanted:
            raise refused(other.path, "is listed twice", self._where)


def relative_path(key: str, prefix: str) -> str:
    """Return the path of an object: its key without the prefix, with single slashes. A folder's marker ends in one."""
    return SLASHES.sub("/", key.removeprefix(prefix)).lstrip("/")


def _quoted(tag: str | None) -> str | None:
    """Return a tag in quotes, as HTTP writes it, or None; some servers omit the quotes in listings."""
    bare = (tag or "").strip(QUOTE)
    return f'"{bare}"' if bare else None
