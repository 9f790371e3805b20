"""Validates a whole archive by its entries before any of it is unpacked."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.archives.entries import Entry, archive_rejected
from downloader.errors import ConfigurationError, SourceNotFound
from downloader.filesystem import Kind
from downloader.formatting import format_size
from downloader.integrity import MARKER
from downloader.sources.paths import check_names

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ENTRIES = 100_000
MAX_RATIO = 100
"""How many times its own size an archive may unpack to. Weights hardly compress at all."""
ALWAYS_ALLOWED = 1 << 30
"""Bytes that any archive may unpack to, whatever its own size."""
MAX_TEXT = 64 << 20
"""Characters of all names and links together."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Contents:
    """What is to be unpacked. Empty folders are left out, as no other source has any."""

    files: dict[str, int] = field(default_factory=dict)
    """Bytes of each path, links included."""
    links: dict[str, str] = field(default_factory=dict)
    """Path of a link → path of the file that it becomes a copy of."""
    size: int = 0
    """Bytes of all files together."""
    text: int = 0
    """Characters of names and links."""

    def add(self, path: str, size: int) -> None:
        """Add a file, or the size of a link."""
        self.files[path] = size
        self.size += size


def validate(entries: Iterable[Entry], size: int, name: str) -> Contents:
    """Return the contents of an archive of `size` bytes.

    Raises ConfigurationError if an entry would be outside of the target, is not a file, a folder or a link to a file,
    or occurs twice, or if it unpacks to too much; SourceNotFound if it has no files.
    """
    contents, folders = Contents(), set()
    for number, entry in enumerate(entries, start=1):
        contents.text += len(entry.path) + len(entry.link)
        if number > MAX_ENTRIES or contents.text > MAX_TEXT:
            raise archive_rejected(name, f"it has more than {MAX_ENTRIES} entries, or names without end")
        if entry.kind is Kind.FOLDER:
            folders.add(entry.path)
        elif entry.path == MARKER:
            log.info("skipping %s in %s: it is generated", MARKER, name)
        elif entry.kind is Kind.OTHER:
            raise archive_rejected(name, f"{entry.path!r} is neither file nor folder nor link")
        elif entry.path in contents.files:
            raise archive_rejected(name, f"{entry.path!r} is in it twice")
        else:
            contents.add(entry.path, entry.size)
            if entry.kind is Kind.SYMLINK:
                contents.links[entry.path] = entry.link
            _check_size(contents, size, name)
    _follow_links(contents, name)
    _check_size(contents, size, name)
    _check_names(contents, folders, name)
    if not contents.files:
        raise SourceNotFound(f"there are no files in the archive {name}")
    return contents


def allowed(size: int) -> int:
    """Return how many bytes an archive of `size` bytes may unpack to."""
    return max(ALWAYS_ALLOWED, MAX_RATIO * size)


def _check_size(contents: Contents, size: int, name: str) -> None:
    if contents.size > allowed(size):
        told = f"{format_size(size)} that unpack to {format_size(contents.size)} or more"
        raise archive_rejected(name, f"{told} are taken for a bomb; {format_size(allowed(size))} would be allowed")


def _follow_links(contents: Contents, name: str) -> None:
    for link in contents.links:
        target, seen = link, set()
        while target in contents.links:
            if target in seen:
                raise archive_rejected(name, f"the link {link!r} leads to itself")
            seen.add(target)
            target = contents.links[target]
        if target not in contents.files:
            raise archive_rejected(name, f"the link {link!r} leads to {target!r}, which is not a file in it")
        contents.links[link] = target
        contents.add(link, contents.files[target])


def _check_names(contents: Contents, folders: set[str], name: str) -> None:
    try:
        check_names(contents.files, name)
        for folder in folders - {""}:
            check_names([folder], name)
    except ConfigurationError as error:
        raise archive_rejected(name, error.message) from error
    both = folders & contents.files.keys()
    if both:
        raise archive_rejected(name, f"{min(both)!r} is a file and a folder")
