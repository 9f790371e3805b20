"""The completion mark: what says that an artifact is complete, and what a run may believe of its files.

Where it is kept is a choice (`Completion`): in `.artifact.sha256`, which `sha256sum -c` reads, or in extended
attributes, for volumes that must hold the source's files and nothing else. Everything that reads or writes a mark calls
this module. It is long because the two places belong together: a mark counts only in the place where it is wanted, and
writing one removes the other.

In attributes, the target folder has `user.aim.completion`: the comments of a checksum file. Each file has
`user.aim.sha256`: its sha256, which anyone may read, its record (`records.py`), a hash of the stamp and its path,
so that neither a copy under another name nor a file of an earlier mark is taken for one of these, and its proof.

Anyone can write comments into a checksum file, and a source's own list is kept as it is. So a mark that a run writes
ends its comments with a stamp: a sha256 over everything else in it and the inode of the file (or folder) that holds it,
which is not known before that is created, and which no copy has. Without a fitting stamp only the checksums count, and
the files have to be hashed.
"""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from downloader.artifact import Completion
from downloader.errors import IntegrityError, VolumeError
from downloader.filesystem import LOST_AND_FOUND, InTheWay, Kind, NotThere, clear, remove
from downloader.formatting import format_count
from downloader.integrity import (
    MARKER,
    MAX_LIST_SIZE,
    RECORD,
    Checksums,
    header,
    parse_checksums,
    parse_header,
    render_checksums,
    render_comments,
    rendered_lines,
    seal_line,
)
from downloader.lease import WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from downloader.filesystem import FileOperations

PREVIOUS = f"{WORK}/previous.sha256"
"""Where the checksum file of the last finished run waits while a run changes the files that it lists."""
SHA256 = "user.aim.sha256"
COMPLETION_ATTRIBUTE = "user.aim.completion"
PREVIOUS_ATTRIBUTE = "user.aim.previous"
"""Where `COMPLETION_ATTRIBUTE` waits while a run changes the files that it describes."""

MAX_KEPT = 50_000
"""Files whose lines are kept while a mark is written."""

_VALUE = re.compile(rf"([0-9a-f]{{64}}) ([A-Za-z0-9_-]{{{RECORD}}}) ([0-9a-f]{{8}}) ([a-z0-9 -]{{1,61}})")
_HINT = "download the artifact again; what is right is kept"
_log = logging.getLogger(__name__)


def standing(files: FileOperations) -> Checksums | None:
    """Return the mark that is there: ours, or else any checksum file; None without either."""
    listed = in_file(files, MARKER)
    if listed is not None and listed.records:
        return listed
    return in_attributes(files) or listed


def last(files: FileOperations) -> Checksums | None:
    """Return the mark of the last finished run, even if another run has begun to change its files."""
    found = standing(files)
    if found is not None and found.records:
        return found
    return in_file(files, PREVIOUS) or in_attributes(files, PREVIOUS_ATTRIBUTE) or found


def find(files: FileOperations) -> Checksums | None:
    """Return the mark that is there; None without any. Raises IntegrityError for a checksum file that is not whole."""
    return in_attributes(files) if files.stat(MARKER) is None else require(files)


def require(files: FileOperations) -> Checksums:
    """Return the mark that is there. Raises IntegrityError, with the reason, if no mark can be read."""
    attributes = in_attributes(files)
    try:
        listed = _read(files, MARKER)
    except IntegrityError as error:
        if attributes is None:
            raise IntegrityError(error.message, hint=_HINT) from error
        listed = None
    if listed is not None and (listed.records or attributes is None):
        return listed
    if attributes is None:
        raise IntegrityError(
            f"{files.name} has no {MARKER} and no attribute {COMPLETION_ATTRIBUTE}: no download was finished here, or"
            " none that could leave its mark",
            hint=_HINT,
        )
    return attributes


def listed(files: FileOperations) -> bytes:
    """Return the mark as a list for `sha256sum -c`: the source's own where it has one.

    Raises IntegrityError without a mark, or if files that it lists are gone.
    """
    found = require(files)
    own = in_file(files, MARKER)
    if own is not None and (found.raw or is_own(found, own)):
        return own.raw
    if not found.whole:
        raise IntegrityError(
            f"{found.lost} of {format_count(found.expected, 'file')} in {files.name} gone, replaced or without a mark",
            hint=_HINT,
        )
    return render_checksums(replace(found, records={}, origins=(), version="", seal="", own=""))


def is_in_place(files: FileOperations, mark: Checksums, completion: Completion, own: bytes | None) -> bool:
    """Return whether a mark is where this choice wants it. `own` is the source's own list, which is always kept."""
    if own is not None:
        current = in_file(files, MARKER)
        return current is not None and current.raw == own and bool(mark.records)
    return not mark.own and may_be_in_place(files, mark, completion)


def may_be_in_place(files: FileOperations, mark: Checksums, completion: Completion) -> bool:
    """Return the same as `is_in_place` before the source was asked whether it has a list of its own."""
    if mark.raw:
        return completion is Completion.FILE
    if mark.own:
        current = in_file(files, MARKER)
        return completion is not Completion.NONE and current is not None and is_own(mark, current)
    return completion is Completion.XATTR and files.stat(MARKER) is None


def is_own(mark: Checksums, found: Checksums) -> bool:
    """Return whether a list is the source's own, to the byte."""
    return mark.own == hashlib.sha256(found.raw).hexdigest()


def invalidate(files: FileOperations) -> None:
    """Move the mark away before the first file is changed: it stands only beside a complete artifact."""
    raw = files.attribute("", COMPLETION_ATTRIBUTE)
    if raw is not None:
        files.set_attribute("", PREVIOUS_ATTRIBUTE, raw)
        _remove_attribute(files, COMPLETION_ATTRIBUTE)
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
    before: Checksums,
    completion: Completion,
    own: Checksums | None,
    confirm: Callable[[], None],
) -> None:
    """Write the mark durably, and remove those in other places. The one `before` stays if it says the same.

    `folder` is the lease holder's, so that it fences the rename; `confirm` raises LeaseLost. A source's `own` list is
    kept as it is, unless it could be mistaken for one that we wrote; the rest of the mark then goes into attributes.
    """
    confirm()
    kept = False
    if _is_written(files, before, checksums, completion, own):
        # By a run that was killed before it had cleaned up. What is published once has one mark.
        files.sync_folder("")  # which it may not have done
        if completion is Completion.FILE and own is None:
            _remove_attribute(files, COMPLETION_ATTRIBUTE)
        _remove_attribute(files, PREVIOUS_ATTRIBUTE)
        return
    if completion is Completion.FILE or own is not None:
        kept = _write_file(files, folder, checksums, date, own, confirm)
    else:
        clear(files, MARKER)
        files.sync_folder("")
    if completion is Completion.XATTR or (completion is Completion.FILE and kept):
        listed_by_source = hashlib.sha256(own.raw).hexdigest() if own is not None and kept else ""
        problem = _write_attributes(files, replace(checksums, own=listed_by_source), date)
        if problem:
            _log.warning("%s, so the next run hashes what it finds", problem)
    else:
        _remove_attribute(files, COMPLETION_ATTRIBUTE)
    _remove_attribute(files, PREVIOUS_ATTRIBUTE)


def _is_written(
    files: FileOperations, before: Checksums, wanted: Checksums, completion: Completion, own: Checksums | None
) -> bool:
    """Return whether the last mark stands where it is wanted, and says just what is `wanted`."""
    if not before.seal or not _are_equivalent(before, wanted):  # as almost always, and told without reading anything
        return False
    if before.own != (hashlib.sha256(own.raw).hexdigest() if own is not None else ""):
        return False
    found = standing(files)
    if found is None or found.seal != before.seal or not found.whole:
        return False
    return is_in_place(files, found, completion, own.raw if own is not None else None)


def _are_equivalent(one: Checksums, other: Checksums) -> bool:
    if len(one.files) != len(other.files):
        return False
    if list(header(replace(one, own=""))) != list(header(replace(other, own=""))):
        return False
    return all(
        one.files.get(path) == sha256
        and one.records.get(path) == other.records.get(path)
        and one.proof_of(path) == other.proof_of(path)
        for path, sha256 in other.files.items()
    )


def write_list(  # noqa: PLR0917
    files: FileOperations,
    folder: str,
    path: str,
    checksums: Checksums,
    date: datetime,
    confirm: Callable[[], None],
) -> None:
    """Write a list of some files durably, stamped like a mark, which `in_file` reads. See `write` for the arguments."""
    _write_file(files, folder, checksums, date, None, confirm, path)


def in_file(files: FileOperations, path: str) -> Checksums | None:
    """Return a checksum file; None if it does not exist or cannot be read."""
    try:
        return _read(files, path)
    except IntegrityError as error:
        _log.debug("%s is ignored: %s", path, error)
        return None


def in_attributes(files: FileOperations, name: str = COMPLETION_ATTRIBUTE) -> Checksums | None:
    """Return the mark in extended attributes; None if the target folder has none that a run of ours wrote."""
    raw, root = files.attribute("", name), files.stat("")
    if raw is None or root is None:
        return None
    mark, count = parse_header(raw)
    if not _is_ours(mark, root.inode):
        return None
    sha256, records, proofs = {}, {}, {}
    for path, value in _values(files):
        found = _VALUE.fullmatch(value)
        if found and found[3] == _membership(mark.seal, path):
            sha256[path], records[path], proofs[path] = found[1], found[2], found[4]
    return replace(
        mark, files=sha256, records=records, proofs=proofs, counted=len(sha256) == count, expected=count, raw=b""
    )


def _read(files: FileOperations, path: str) -> Checksums | None:
    """Return a checksum file, with its claims beside the checksums only if a run of ours wrote it."""
    try:
        handle = files.open(path)
    except (NotThere, InTheWay):
        return None
    try:
        found = files.handle_stat(handle)
        buffer = memoryview(bytearray(min(found.size, MAX_LIST_SIZE + 1)))
        checksums = parse_checksums(bytes(buffer[: files.read(handle, 0, buffer)]), f"{files.name}/{path}")
    except NotThere:  # another node has removed it after it was opened
        return None
    finally:
        files.close(handle)
    return checksums if _is_ours(checksums, found.inode) else checksums.without_claims()


def _write_file(  # noqa: PLR0917
    files: FileOperations,
    folder: str,
    checksums: Checksums,
    date: datetime,
    own: Checksums | None,
    confirm: Callable[[], None],
    path: str = MARKER,
) -> bool:
    """Write `.artifact.sha256`, or a list at another path; return whether that is the source's own list."""
    temporary = f"{folder}/checksums"
    clear(files, temporary)
    handle = files.create(temporary)
    try:
        inode = files.handle_stat(handle).inode
        kept = own is not None and not _is_ours(own, inode)
        offset = 0
        for piece in [own.raw] if own is not None and kept else _stamped(checksums, date, inode):
            files.write(handle, offset, piece)
            offset += len(piece)
        files.sync(handle)
    finally:
        files.close(handle)
    confirm()
    with suppress(NotThere, InTheWay):
        files.remove_folder(path)  # an empty one: an inventory refuses any other
    try:
        files.rename(temporary, path)
    except NotThere:
        confirm()
        raise
    files.sync_folder(path.rpartition("/")[0])
    return kept


def _write_attributes(files: FileOperations, checksums: Checksums, date: datetime) -> str:
    """Write the mark into attributes, durably; return why the file system does not take it, empty if it did."""
    root = files.stat("")
    raw = "".join(f"{line}\n" for line in header(checksums, date)).encode()
    stamp = _stamp_of([raw], root.inode if root else 0)
    values = ((path, _value(checksums, stamp, path)) for path in checksums.files)
    refused = [path for path, value in values if not files.set_attribute(path, SHA256, value)]
    if len(refused) == len(checksums.files):
        return "the volume has no extended attributes"
    if not files.sync_everything():
        for path in checksums.files:
            handle = files.open(path)
            try:
                files.sync(handle)
            finally:
                files.close(handle)
    if not files.set_attribute("", COMPLETION_ATTRIBUTE, raw + seal_line(stamp)):
        return "the target folder takes no extended attribute of this size"
    files.sync_folder("")
    return f"no extended attributes on {format_count(len(refused), 'file')}" if refused else ""


def _remove_attribute(files: FileOperations, name: str) -> None:
    """Remove an attribute of the target folder, durably, if it is there."""
    if files.attribute("", name) is not None:
        files.remove_attribute("", name)
        files.sync_folder("")


def _value(checksums: Checksums, stamp: str, path: str) -> bytes:
    fields = checksums.files[path], checksums.records[path], _membership(stamp, path), checksums.proof_of(path)
    return " ".join(fields).encode()


def _membership(stamp: str, path: str) -> str:
    """Return what shows that a file belongs to the mark with this stamp."""
    return hashlib.sha256(f"{stamp}  {path}".encode()).hexdigest()[:8]


def _values(files: FileOperations) -> Iterator[tuple[str, str]]:
    """Yield the path and attribute of each file that has one. Not recursive: folders may be nested deeply."""
    todo = [""]
    while todo:
        folder = todo.pop()
        try:
            names = files.scan(folder)
        except VolumeError:  # private to another user
            continue
        plain = [name for name, kind in names.items() if kind is Kind.FILE]
        for name, value in files.attributes(folder, plain, SHA256).items():
            yield f"{folder}/{name}".lstrip("/"), value.decode(errors="replace")
        inner = (f"{folder}/{name}".lstrip("/") for name, kind in names.items() if kind is Kind.FOLDER)
        todo += [path for path in inner if path not in (WORK, LOST_AND_FOUND)]


def _stamped(checksums: Checksums, date: datetime, inode: int) -> Iterator[bytes]:
    """Return the pieces of the list with its stamp."""
    comments, lines = render_comments(checksums, date), rendered_lines(checksums)
    if len(checksums.files) > MAX_KEPT:  # the lines are made twice, so that they are not in memory
        stamp, lines = _stamp_of(chain([comments], lines), inode), rendered_lines(checksums)
    else:
        kept = list(lines)
        stamp, lines = _stamp_of([comments, *kept], inode), iter(kept)
    return chain([comments, seal_line(stamp)], lines)


def _stamp_of(pieces: Iterable[bytes], inode: int) -> str:
    """Return the stamp for the file with this inode and this content, the stamp itself left out."""
    stamp = hashlib.sha256(b"%d\n" % inode)
    for piece in pieces:
        stamp.update(piece)
    return stamp.hexdigest()


def _is_ours(checksums: Checksums, inode: int) -> bool:
    """Return whether a run wrote this mark into the very file that it was read from."""
    if not checksums.seal:
        return False
    bare = checksums.raw.replace(seal_line(checksums.seal), b"", 1)
    return len(bare) < len(checksums.raw) and checksums.seal == _stamp_of([bare], inode)
