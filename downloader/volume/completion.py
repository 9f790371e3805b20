"""The completion mark: what says that an artifact is complete, and what a run may believe of its files.

Where it lives is a choice (`Completion`): in `.artifact.sha256`, which `sha256sum -c` reads, or in extended attributes,
so that the volume holds the source's files alone. All that reads or writes a mark asks here.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.artifact import Completion
from downloader.errors import IntegrityError
from downloader.filesystem import InTheWay, Kind, NotThere, clear, remove
from downloader.integrity import LARGEST_LIST, MARKER, Checksums, parse_checksums, render_checksums
from downloader.lease import WORK
from downloader.volume import attributes
from downloader.volume.stamp import is_ours, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from downloader.filesystem import FileOperations

PREVIOUS = f"{WORK}/previous.sha256"
"""Where the checksums of the last finished run wait while a run changes what they speak of."""

_HINT = "download the artifact again; what is right is kept"
_log = logging.getLogger(__name__)


def standing(files: FileOperations) -> Checksums | None:
    """Return the mark that stands: ours, else whatever list there is; None without either."""
    listed = in_file(files, MARKER)
    if listed is not None and listed.records:
        return listed
    return attributes.read(files) or listed


def last(files: FileOperations) -> Checksums | None:
    """Return what the last finished run wrote, also if another one has begun to change it."""
    found = standing(files)
    if found is not None and found.records:
        return found
    return in_file(files, PREVIOUS) or attributes.read(files, attributes.PREVIOUS) or found


def require(files: FileOperations) -> Checksums:
    """Return the mark that stands. Raises IntegrityError, with the reason, if there is none that can be read."""
    in_attributes = attributes.read(files)
    try:
        listed = _read(files, MARKER)
    except IntegrityError as error:
        if in_attributes is None:
            raise IntegrityError(error.message, hint=_HINT) from error
        listed = None
    if listed is not None and (listed.records or in_attributes is None):
        return listed
    if in_attributes is None:
        raise IntegrityError(
            f"{files.name} has no {MARKER} and no attribute {attributes.COMPLETION}: no download was finished here, or"
            " none that could leave its mark",
            hint=_HINT,
        )
    return in_attributes


def listed(files: FileOperations) -> bytes:
    """Return the mark that stands as a list for `sha256sum -c`: the source's own where it has one.

    Raises IntegrityError if there is none, or if files are gone that it speaks of.
    """
    found = require(files)
    own = in_file(files, MARKER)
    if own is not None and (found.raw or is_own(found, own)):
        return own.raw
    if not found.whole:
        lost = found.expected - len(found.files)
        raise IntegrityError(
            f"{lost} of {found.expected} files in {files.name} are gone, replaced or without a mark",
            hint=_HINT,
        )
    return render_checksums(replace(found, records={}, origins=(), version="", seal="", own=""))


def is_in_place(files: FileOperations, mark: Checksums, completion: Completion, own: bytes | None) -> bool:
    """Tell whether a mark is where this choice wants it. `own` is the source's own list, which stands in any case."""
    if own is not None:
        standing_list = in_file(files, MARKER)
        return standing_list is not None and standing_list.raw == own and bool(mark.records)
    return not mark.own and may_be_in_place(files, mark, completion)


def may_be_in_place(files: FileOperations, mark: Checksums, completion: Completion) -> bool:
    """Tell the same as `is_in_place` where nobody has asked yet whether the source has a list of its own."""
    if mark.raw:
        return completion is Completion.FILE
    if mark.own:
        standing_list = in_file(files, MARKER)
        return completion is not Completion.NONE and standing_list is not None and is_own(mark, standing_list)
    return completion is Completion.XATTR and files.stat(MARKER) is None


def is_own(mark: Checksums, found: Checksums) -> bool:
    """Tell whether a list is the one that the source has, to the byte."""
    return mark.own == hashlib.sha256(found.raw).hexdigest()


def invalidate(files: FileOperations) -> None:
    """Take the mark away before the first file is changed: it stands only beside a complete artifact."""
    attributes.invalidate(files)
    found = files.stat(MARKER)
    if found is None:
        return
    if found.kind is Kind.FOLDER:
        files.remove_folder(MARKER)
        return
    before = files.stat(PREVIOUS)
    if before is not None and before.kind is not Kind.FILE:
        remove(files, PREVIOUS, before.kind)
    files.rename(MARKER, PREVIOUS)
    files.sync_folder(WORK)
    files.sync_folder("")


def write(
    files: FileOperations,
    folder: str,
    checksums: Checksums,
    date: datetime,
    *,
    completion: Completion,
    own: Checksums | None,
    confirm: Callable[[], None],
) -> None:
    """Write the mark durably, and remove those that were elsewhere.

    `folder` is the lease holder's, so that it fences the rename; `confirm` raises if the lease is lost. A source's
    `own` list is kept as it is, unless it could be mistaken for one that we wrote; the rest goes into attributes.
    """
    confirm()
    kept = False
    if completion is Completion.FILE or own is not None:
        kept = _write_file(files, folder, checksums, date, own, confirm)
    else:
        clear(files, MARKER)
        files.sync_folder("")
    if completion is Completion.XATTR or (completion is Completion.FILE and kept):
        listed_by_source = hashlib.sha256(own.raw).hexdigest() if own is not None and kept else ""
        problem = attributes.write(files, replace(checksums, own=listed_by_source), date)
        if problem:
            _log.warning("%s, so the next run hashes what it finds", problem)
    else:
        attributes.remove(files, attributes.COMPLETION)
    attributes.remove(files, attributes.PREVIOUS)


def _write_file(  # noqa: PLR0917
    files: FileOperations,
    folder: str,
    checksums: Checksums,
    date: datetime,
    own: Checksums | None,
    confirm: Callable[[], None],
) -> bool:
    """Write `.artifact.sha256`; tell whether that is the source's own."""
    temporary = f"{folder}/checksums"
    clear(files, temporary)
    handle = files.create(temporary)
    try:
        inode = files.handle_stat(handle).inode
        kept = own is not None and not is_ours(own, inode)
        files.write(handle, 0, own.raw if own is not None and kept else _stamped(checksums, date, inode))
        files.sync(handle)
    finally:
        files.close(handle)
    confirm()
    with suppress(NotThere, InTheWay):
        files.remove_folder(MARKER)  # an empty one: an inventory refuses any other
    try:
        files.rename(temporary, MARKER)
    except NotThere:
        confirm()
        raise
    files.sync_folder("")
    return kept


def _stamped(checksums: Checksums, date: datetime, inode: int) -> bytes:
    seal = stamp_of(render_checksums(checksums, date), inode)
    return render_checksums(replace(checksums, seal=seal), date)


def in_file(files: FileOperations, path: str) -> Checksums | None:
    """Return a list; None if there is none that can be read."""
    try:
        return _read(files, path)
    except IntegrityError as error:
        _log.debug("%s is passed over: %s", path, error)
        return None


def _read(files: FileOperations, path: str) -> Checksums | None:
    """Return a list. What it says beside the checksums is left out unless a run of ours has written the file."""
    try:
        handle = files.open(path)
    except (NotThere, InTheWay):
        return None
    try:
        found = files.handle_stat(handle)
        buffer = memoryview(bytearray(min(found.size, LARGEST_LIST + 1)))
        checksums = parse_checksums(bytes(buffer[: files.read(handle, 0, buffer)]), f"{files.name}/{path}")
    finally:
        files.close(handle)
    return checksums if is_ours(checksums, found.inode) else checksums.without_claims()
