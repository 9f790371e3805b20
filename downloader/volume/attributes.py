"""The completion mark as extended attributes: for volumes that must hold the source's files and nothing else.

A finished artifact has `user.aim.completion` on the target folder: the comments of a checksum list and a seal over them
and the folder's inode. Each of its files has `user.aim.sha256`: its sha256, which anybody may read, its record
(`seal.py`), a hash of the seal and its path, so that neither a copy under another name nor a file of an earlier mark is
taken for one of these, and what had proved it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.errors import VolumeError
from downloader.filesystem import Kind
from downloader.integrity import RECORD, Checksums, header, parse_header, seal_line
from downloader.lease import WORK
from downloader.volume.stamp import is_ours, stamp_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from downloader.filesystem import FileOperations

SHA256 = "user.aim.sha256"
COMPLETION = "user.aim.completion"
PREVIOUS = "user.aim.previous"
"""Where `COMPLETION` waits while a run changes what it speaks of."""

_LOST = "lost+found"
_VALUE = re.compile(rf"([0-9a-f]{{64}}) ([A-Za-z0-9_-]{{{RECORD}}}) ([0-9a-f]{{8}}) ([a-z0-9 -]{{1,61}})")


def read(files: FileOperations, name: str = COMPLETION) -> Checksums | None:
    """Return what a run of ours has written into attributes; None if the folder has no such mark that is ours."""
    raw, root = files.attribute("", name), files.stat("")
    if raw is None or root is None:
        return None
    said, count = parse_header(raw)
    if not is_ours(said, root.inode):
        return None
    sha256, records, proofs = {}, {}, {}
    for path, value in _values(files):
        found = _VALUE.fullmatch(value)
        if found and found[3] == _membership(said.seal, path):
            sha256[path], records[path], proofs[path] = found[1], found[2], found[4]
    return replace(
        said, files=sha256, records=records, proofs=proofs, counted=len(sha256) == count, expected=count, raw=b""
    )


def write(files: FileOperations, checksums: Checksums, date: datetime) -> str:
    """Write the mark, durably; return why that cannot be done, empty if it was."""
    root = files.stat("")
    raw = "".join(f"{line}\n" for line in header(checksums, date)).encode()
    seal = stamp_of(raw, root.inode if root else 0)
    refused = [path for path in checksums.files if not files.set_attribute(path, SHA256, _value(checksums, seal, path))]
    if len(refused) == len(checksums.files):
        return "the volume has no extended attributes"
    if not files.sync_everything():
        for path in checksums.files:
            handle = files.open(path)
            try:
                files.sync(handle)
            finally:
                files.close(handle)
    if not files.set_attribute("", COMPLETION, raw + seal_line(seal)):
        return "the target folder takes no extended attribute of this size"
    files.sync_folder("")
    return f"{len(refused)} files take no extended attributes" if refused else ""


def invalidate(files: FileOperations) -> None:
    """Take the mark away before the first file is changed."""
    raw = files.attribute("", COMPLETION)
    if raw is not None:
        files.set_attribute("", PREVIOUS, raw)
        remove(files, COMPLETION)


def remove(files: FileOperations, name: str) -> None:
    """Remove an attribute of the target folder, durably, if it is there."""
    if files.attribute("", name) is not None:
        files.remove_attribute("", name)
        files.sync_folder("")


def _value(checksums: Checksums, seal: str, path: str) -> bytes:
    facts = checksums.files[path], checksums.records[path], _membership(seal, path), checksums.proof_of(path)
    return " ".join(facts).encode()


def _membership(seal: str, path: str) -> str:
    """Return what a file has that is one of those the mark with this seal speaks of."""
    return hashlib.sha256(f"{seal}  {path}".encode()).hexdigest()[:8]


def _values(files: FileOperations) -> Iterator[tuple[str, str]]:
    """Yield each file that has a checksum, and what its attribute says; however deep somebody's folders are."""
    todo = [""]
    while todo:
        folder = todo.pop()
        try:
            names = files.scan(folder)
        except VolumeError:  # private to somebody else
            continue
        plain = [name for name, kind in names.items() if kind is Kind.FILE]
        for name, value in files.attributes(folder, plain, SHA256).items():
            yield f"{folder}/{name}".lstrip("/"), value.decode(errors="replace")
        inner = (f"{folder}/{name}".lstrip("/") for name, kind in names.items() if kind is Kind.FOLDER)
        todo += [path for path in inner if path not in (WORK, _LOST)]
