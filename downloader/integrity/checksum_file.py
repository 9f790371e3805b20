r"""`.artifact.sha256`: the checksums of a complete artifact, and so the sign that it is complete.

The format is that of sha256sum(1), with its escapes (`\` before the line, `\\`, `\n` and `\r` in the name). Comments
before the first checksum say where the files come from, how many there are, what had proved them, and the metadata of
each when it was verified. Anyone can write such comments, so nothing here is believed before `volume/completion.py` has
found that a run of ours wrote the file for this very volume. Lists of others are read as `sha256sum -c` reads them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from downloader.artifact import MAX_FILES, Algorithm, Mismatch
from downloader.errors import IntegrityError
from downloader.formatting import format_count, single_line
from downloader.integrity.checksum_lines import escape, line_of, numbered_lines, parse_line, unescape
from downloader.integrity.verify import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from downloader.artifact import Manifest, RemoteFile

MARKER = ".artifact.sha256"
"""Where the checksums are, relative to the target."""
MAX_LIST_SIZE = 256 << 20
"""Bytes of a checksum file that is read: about a million long names."""
MAX_ORIGINS = 255
"""Artifacts whose files can be in one list."""
RECORD = 32
"""Characters of the record of one file, see `volume/records.py`."""

_PIECE = 1000
"""Lines that are made together."""
_COMMENT = re.compile(r"# (source|revision|version|files|records|seal|own): (.+)")
_ORIGIN = re.compile(r"# origin: (\[.{1,5000}\])")
_PROOF = re.compile(r"# proof: ([a-z0-9-]{1,30}(?: [a-z0-9-]{1,30})?)(?:  (.+))?")
_RECORDS = re.compile(r"[A-Za-z0-9_-]+")
_COUNT = re.compile(r"[0-9]{1,7}")


class Origin(NamedTuple):
    """An artifact at one revision, whatever filters chose of it."""

    uri: str
    """See `Manifest.origin`."""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Checksums:
    """What a list of checksums says."""

    files: Mapping[str, str]
    """The sha256 of each path."""
    source: str = ""
    """The URI of the artifact that was downloaded last; empty if the list does not say."""
    revision: str = ""
    version: str = ""
    """The hash of the `Manifest.version` of the artifact that was downloaded last."""
    proofs: Mapping[str, str] = field(default_factory=dict)
    """What proved each path when it was downloaded; under the empty path, what proved those that are not named."""
    origins: tuple[Origin, ...] = ()
    """The artifacts that the files are of, that which was downloaded last being the first."""
    records: Mapping[str, str] = field(default_factory=dict)
    """For each path, how the file looked when it was verified and what it is: see `volume/records.py`."""
    seal: str = ""
    counted: bool = False
    """The list says how many files it has, and has them."""
    expected: int = 0
    """How many files a mark in extended attributes says that there are; 0 for a list, which is refused unless right."""
    own: str = ""
    """The sha256 of the list that the source itself has, which stands beside this mark in extended attributes."""
    raw: bytes = field(default=b"", repr=False, compare=False)
    """The file as it is."""

    def proof_of(self, path: str) -> str:
        """Return what proved a file when it was downloaded, or UNKNOWN."""
        return self.proofs.get(path) or self.proofs.get("", UNKNOWN)

    @property
    def lost(self) -> int:
        """How many files are missing of it: in attributes, the name of a file that is gone went with it."""
        return max(0, self.expected - len(self.files))

    @property
    def whole(self) -> bool:
        """Nothing is missing of it."""
        return not self.lost

    def covers(self, manifest: Manifest) -> bool:
        """Tell whether these are exactly the manifest's files, with the sha256 that its source publishes of them."""
        if self.files.keys() != {file.path for file in manifest.files}:
            return False
        return all(sha256_of(file) in (None, self.files[file.path]) for file in manifest.files)

    def without_claims(self) -> Checksums:
        """Return the checksums alone: what else a list says is worth nothing unless we wrote it."""
        return Checksums(self.files, counted=self.counted, raw=self.raw)


def sha256_of(file: RemoteFile) -> str | None:
    """Return the sha256 that the source publishes of a file; None if it publishes none, or none that is certain."""
    certain = (digest for digest in file.digests if digest.mismatch is Mismatch.DAMAGE)
    return next((digest.value for digest in certain if digest.algorithm is Algorithm.SHA256), None)


def render_checksums(checksums: Checksums, date: datetime | None = None) -> bytes:
    """Return the list as a file, sorted by path; with its `seal`, if it has one, as the last comment."""
    seal = seal_line(checksums.seal) if checksums.seal else b""
    return b"".join([render_comments(checksums, date), seal, *rendered_lines(checksums)])


def render_comments(checksums: Checksums, date: datetime | None = None) -> bytes:
    """Return the comments of the list, apart from its seal."""
    paths = sorted(checksums.files)
    lines = [*header(checksums, date)]
    if checksums.records:
        lines.append(f"# records: {''.join([checksums.records[path] for path in paths])}")
    lines += _proof_lines(checksums, paths)
    return "".join([f"{line}\n" for line in lines]).encode()


def rendered_lines(checksums: Checksums) -> Iterator[bytes]:
    """Yield the lines of the files, in pieces: of a million files they have 100 MB."""
    paths = sorted(checksums.files)
    for start in range(0, len(paths), _PIECE):
        some = paths[start : start + _PIECE]
        yield "".join([line_of(checksums.files[path], path) for path in some]).encode()


def parse_header(raw: bytes, name: str = "the mark") -> tuple[Checksums, int]:
    """Return what the comments of a list say, and how many files they say that it has: 0 if they do not."""
    reader = _Reader(name)
    with suppress(IntegrityError):
        for number, line in numbered_lines(raw, name):
            if line.startswith("#"):
                reader.comment(line, number)
    count = reader.count
    return replace(reader.comments(), raw=raw), count or 0


def header(checksums: Checksums, date: datetime | None = None) -> Iterator[str]:
    """Yield the comments that describe all files together."""
    if checksums.source:
        yield f"# source: {single_line(checksums.source)}"
    if checksums.revision:
        yield f"# revision: {single_line(checksums.revision)}"
    if date is not None:
        yield f"# date: {date:%Y-%m-%dT%H:%M:%SZ}"
    yield f"# files: {len(checksums.files)}"
    for origin in checksums.origins:
        yield f"# origin: {json.dumps(origin)}"
    if checksums.version:
        yield f"# version: {checksums.version}"
    if checksums.own:
        yield f"# own: {checksums.own}"


def seal_line(seal: str) -> bytes:
    """Return the comment with the seal."""
    return f"# seal: {seal}\n".encode()


def _proof_lines(checksums: Checksums, paths: Sequence[str]) -> Iterator[str]:
    counts = Counter(map(checksums.proof_of, paths))
    usual = max(counts.items(), key=lambda item: item[1], default=(UNKNOWN, 0))[0]
    if usual != UNKNOWN:
        yield f"# proof: {usual}"
    others = paths if len(counts) > 1 else ()
    yield from (f"# proof: {proof}  {escape(path)}" for path in others if (proof := checksums.proof_of(path)) != usual)


def parse_checksums(raw: bytes, name: str = "the checksum file") -> Checksums:
    """Read a checksum file from an untrusted writer; `name` is what errors call it.

    Raises IntegrityError, naming the line, for anything but comments and checksums of distinct paths inside a folder,
    and for a list that has been cut off.
    """
    if len(raw) > MAX_LIST_SIZE:
        raise IntegrityError(f"{name} has {len(raw)} bytes, which is too long")
    reader = _Reader(name)
    for number, line in numbered_lines(raw, name):
        if line.startswith("#"):
            reader.comment(line, number)
        else:
            reader.checksum(line, number)
    return replace(reader.checksums(), raw=raw)


class _Reader:
    """What has been read of one list."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._files: dict[str, str] = {}
        self._comments: dict[str, str] = {}
        self._proofs: dict[str, str] = {}
        self._origins: list[Origin] = []

    def comment(self, line: str, number: int) -> None:
        """Take a comment in, unless it comes after the first checksum."""
        if self._files:
            return
        if comment := _COMMENT.fullmatch(line):
            self._comments[comment[1]] = comment[2]
        elif proof := _PROOF.fullmatch(line):
            if len(self._proofs) < MAX_FILES:
                with suppress(IntegrityError):  # a list is not refused for the comments of other programs
                    self._proofs[unescape(proof[2] or "", number, self._name)] = proof[1]
        elif (origin := _ORIGIN.fullmatch(line)) and len(self._origins) < MAX_ORIGINS:
            with suppress(ValueError, RecursionError):
                match json.loads(origin[1]):
                    case [str(uri), str(revision)]:
                        self._origins.append(Origin(uri, revision))

    def checksum(self, line: str, number: int) -> None:
        """Add a checksum. Raises IntegrityError if it is malformed."""
        path, digest = parse_line(line, number, self._name)
        known = self._files.get(path)
        if known == digest:
            return  # lists that were put together of others may repeat a line, and sha256sum takes them
        if known is not None:
            raise IntegrityError(f"line {number} of {self._name} contradicts an earlier one: {single_line(path, 200)}")
        if len(self._files) == MAX_FILES:
            raise IntegrityError(f"{self._name} lists more than {MAX_FILES} files")
        self._files[path] = digest

    @property
    def count(self) -> int | None:
        """How many files the list says that it has; None if it does not."""
        count = self._comments.get("files", "")
        return int(count) if _COUNT.fullmatch(count) else None

    def checksums(self) -> Checksums:
        """Return all of it. Raises IntegrityError if that is not the whole list, or not a list of files."""
        _refuse_files_as_folders(self._files, self._name)
        if self.count not in (None, len(self._files)):
            raise IntegrityError(
                f"{self._name} lists {format_count(len(self._files), 'file')} and says that it has {self.count}"
            )
        joined, records = self._comments.get("records", ""), {}
        if len(joined) == RECORD * len(self._files) and _RECORDS.fullmatch(joined):
            starts = range(0, len(joined), RECORD)
            records = {path: joined[at : at + RECORD] for at, path in zip(starts, self._files, strict=True)}
        return replace(self.comments(), files=self._files, records=records, counted=self.count is not None)

    def comments(self) -> Checksums:
        """Return what the comments say, without any file."""
        said = self._comments
        return Checksums(
            {},
            source=said.get("source", ""),
            revision=said.get("revision", ""),
            version=said.get("version", ""),
            proofs=self._proofs,
            origins=tuple(self._origins),
            seal=said.get("seal", ""),
            own=said.get("own", ""),
        )


def _refuse_files_as_folders(files: Mapping[str, str], name: str) -> None:
    folders = {path.rpartition("/")[0] for path in files}
    while folders := folders - {""}:
        if both := folders & files.keys():
            raise IntegrityError(f"{name} has {single_line(min(both), 200)} as a file and as a folder")
        folders = {folder.rpartition("/")[0] for folder in folders}
