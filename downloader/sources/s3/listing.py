"""From the keys of a listing to relative paths, and what is wrong with a key or a listing."""

from __future__ import annotations

import re
from array import array
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from downloader.artifact import MAX_FILES, MAX_SIZE, FileTable, RemoteFile, Validator
from downloader.errors import ProtocolFailed, SourceUnavailable
from downloader.integrity import MARKER
from downloader.sources.base import version_of
from downloader.sources.paths import is_step, refused, require_apart, require_name
from downloader.sources.s3.object_info import ARCHIVES, MD5_TAG, tag_digests
from downloader.sources.s3.pages import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from downloader.sources.s3.address import S3Address
    from downloader.sources.s3.client import S3ApiClient

MAX_KEY_LENGTH, MAX_TAG_LENGTH = 1024, 256
QUOTE = '"'
SLASHES = re.compile(r"/{2,}")


class Listing:
    """The objects of a folder, collected page by page."""

    def __init__(self, uri: str, address: S3Address, wants: Callable[[str], bool] | None, *, skip_unsafe: bool) -> None:
        """Keep what `wants` returns true for, without it all of them.

        `skip_unsafe` collects keys that lead out of the folder in `skipped`.
        """
        self._uri = uri
        self._address = address
        self._where = address.uri_of(address.path)
        self._prefix = address.prefix
        self._wants = wants
        self._skip_unsafe = skip_unsafe
        self._count = 0
        self.files = FileTable()
        """Every object as far as the listing tells, sorted by path. The locator is its key, the validator its tag."""
        self._wanted = bytearray()
        self._archived = bytearray()
        self._model: int | None = None
        """The row of an object with a plain MD5 for its tag. Most objects are like it."""
        self._collapsed = False
        """Some keys have double slashes: their order is not that of the paths."""
        self.skipped: list[str] = []
        """Keys with a '.' or '..' between slashes, as they were listed."""

    def read(self, client: S3ApiClient) -> None:
        """Read all pages.

        Raises ConfigurationError for a wanted key that is unsafe as a path, ProtocolFailed for foreign objects.
        """
        for page in Pages(client, self._address.bucket, self._address.prefix):
            for item in page:
                self._add(item)
        rows = self._distinct(self.files.order())
        self.files = self.files.taking(rows)
        self._wanted = bytearray(self._wanted[row] for row in rows)
        self._archived = bytearray(self._archived[row] for row in rows)
        paths = self.files.paths
        require_apart([paths[row] for row in self.wanted if paths[row] != MARKER], self._where)

    @property
    def wanted(self) -> Sequence[int]:
        """The rows of the files that the filters keep."""
        if all(self._wanted):
            return range(len(self.files))
        return array("I", (row for row, wanted in enumerate(self._wanted) if wanted))

    def is_archived(self, row: int) -> bool:
        """Return whether the storage class of an object is one that may have to be restored before it can be read."""
        return bool(self._archived[row])

    @cached_property
    def version(self) -> str | None:
        """A name for all objects, by their keys, sizes and tags; None if there are none, or one has no tag."""
        files = self.files
        if self._collapsed:
            keys = list(files.locators())
            files = files.taking(sorted(range(len(files)), key=keys.__getitem__))
        try:
            return version_of(self._uri, _described(files)) if files else None
        except _Untagged:
            return None

    def _add(self, item: Mapping[str, Any]) -> None:
        self._count += 1
        if self._count > MAX_FILES:
            raise ProtocolFailed(f"{self._where} holds more than {MAX_FILES} objects")
        key, size, tag = item.get("Key", ""), item.get("Size", -1), _quoted(item.get("ETag"))
        if not key or not 0 <= size <= MAX_SIZE:
            raise ProtocolFailed(f"the listing of {self._where} has an object without name or size")
        if not key.startswith(self._prefix):
            raise ProtocolFailed(
                f"the listing of {self._where} has an object of another folder: {key[:80]!r}",
                hint="the server does not list by prefix: check the endpoint",
            )
        path = relative_path(key, self._prefix)
        if (not path or path.endswith("/")) and not size:
            return  # the marker of an empty folder, as consoles create it
        wanted = self._wants is None or self._wants(path)
        if wanted and self._skip_unsafe and is_step(path):
            self.skipped.append(key)
            return
        if wanted:
            self._check(path, key, tag)
        self._append(path, size, tag, key)
        self._wanted.append(wanted)
        self._archived.append(item.get("StorageClass") in ARCHIVES)

    def _append(self, path: str, size: int, tag: str | None, key: str) -> None:
        """Add a file to the table, as that of the model without making it where only path, size and MD5 differ."""
        as_listed = path == key[len(self._prefix) :]
        self._collapsed |= not as_listed
        # A tag in capitals has to come back as it was listed, which that of the model does not.
        md5 = MD5_TAG.fullmatch(tag) if tag and path and as_listed and tag == tag.lower() else None
        if md5 is not None and self._model is not None:
            self.files.append_like(self._model, path, size, bytes.fromhex(md5[1]))
            return
        if md5 is not None:
            self._model = len(self.files)
        self.files.append(RemoteFile(path, size, tag_digests(tag), Validator.of(tag), key))

    def _check(self, path: str, key: str, tag: str | None) -> None:
        if not path or path.endswith("/"):
            raise refused(path or key, "is a folder's name but holds data", self._where)
        if len(key) > MAX_KEY_LENGTH or len(tag or "") > MAX_TAG_LENGTH:
            raise refused(key, "has a key or a tag that no S3 object can have", self._where)
        if path != MARKER:
            require_name(path, self._where)

    def _distinct(self, rows: Sequence[int]) -> Sequence[int]:
        """Return rows, which are in order, without those of objects that come again."""
        paths = self.files.paths
        again = {row for before, row in pairwise(rows) if paths[before] == paths[row]}
        if not again:
            return rows
        known = rows[0]
        for row in rows[1:]:
            if row not in again:
                known = row
            # Pages of some servers overlap: the same facts again are not an error.
            elif self.files[known] != self.files[row]:
                self._collide(row, same_key=self.files[known].locator == self.files[row].locator)
        return array("I", (row for row in rows if row not in again))

    def _collide(self, row: int, *, same_key: bool) -> None:
        """Raise for two objects that would become one file, and for one that is listed twice with different facts."""
        path = self.files.paths[row]
        if same_key:
            raise SourceUnavailable(
                f"the listing of {self._where} names {path[:80]!r} twice, with different sizes or tags",
                hint="the object was replaced meanwhile, or the server's pages contradict each other",
            )
        if self._wanted[row]:
            raise refused(path, "is listed twice", self._where)


class _Untagged(Exception):
    """An object has no entity tag."""


def _described(files: FileTable) -> Iterator[str]:
    """Yield what names the version of each object. Raises _Untagged for one without a tag."""
    for key, size, tag in zip(files.locators(), files.sizes, files.tags(), strict=True):
        if tag is None:
            raise _Untagged
        yield f"{key}\0{size}\0{tag}"


def relative_path(key: str, prefix: str) -> str:
    """Return the path of an object: its key without the prefix, with single slashes. A folder's marker ends in one."""
    path = key.removeprefix(prefix)
    return SLASHES.sub("/", path).lstrip("/") if path.startswith("/") or "//" in path else path


def _quoted(tag: str | None) -> str | None:
    """Return a tag in quotes, as HTTP writes it, or None; some servers omit the quotes in listings."""
    bare = (tag or "").strip(QUOTE)
    return f'"{bare}"' if bare else None
