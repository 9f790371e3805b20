r"""`.artifact.sha256`: the checksums of a complete artifact, and so the sign that it is complete.

The format is that of sha256sum(1), with its escapes (`\` before the line, `\\`, `\n` and `\r` in the name), and comment
lines that say where the files come from and what their source had published that proved them: a `proof` for all, and
one for each file that has another. A `fingerprint` covers the checksums and what the source published of each
file, so that a later run knows by one comparison that the list is whole and about the same files, whatever kind of
digests that source has. A `seal` (`seal.py`) spares that run the source's listing.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Mismatch
from downloader.errors import IntegrityError
from downloader.integrity import UNKNOWN
from downloader.words import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from downloader.artifact import Manifest, RemoteFile

MARKER = ".artifact.sha256"
"""Where the checksums are, relative to the target."""
LARGEST = 256 << 20
"""Bytes of a checksum file that is read: about a million long names."""
MOST_FILES = 1_000_000
"""Files that are taken from one: as many as any source may list."""

_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")
_COMMENT = re.compile(r"# (source|revision|fingerprint|seal): (.+)")
_PROOF = re.compile(r"# proof: ([a-z0-9-]{1,30}(?: [a-z0-9-]{1,30})?)(?:  (.+))?")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class Checksums:
    """What a checksum file says."""

    files: Mapping[str, str]
    """The sha256 of each path."""
    source: str = ""
    """The artifact's URI; empty if the file does not say."""
    revision: str = ""
    fingerprint: str = ""
    """What `fingerprint` returned for the manifest; empty in files that others wrote."""
    seal: str = ""
    """What `seal_of` returned; empty where the source had no version, and in files that others wrote."""
    proofs: Mapping[str, str] = field(default_factory=dict)
    """What proved each path when it was downloaded; under the empty path, what proved those that are not named."""
    raw: bytes = field(default=b"", repr=False, compare=False)
    """The file as it is."""

    def proof_of(self, path: str) -> str:
        """Return what proved a file when it was downloaded, or UNKNOWN."""
        return self.proofs.get(path) or self.proofs.get("", UNKNOWN)

    def covers(self, manifest: Manifest) -> bool:
        """Tell whether these are exactly the manifest's files, with the sha256 that its source publishes of them."""
        if self.files.keys() != {file.path for file in manifest.files}:
            return False
        return all(sha256_of(file) in (None, self.files[file.path]) for file in manifest.files)


def sha256_of(file: RemoteFile) -> str | None:
    """Return the sha256 that the source publishes of a file; None if it publishes none, or none that is certain."""
    certain = (digest for digest in file.digests if digest.mismatch is Mismatch.DAMAGE)
    return next((digest.value for digest in certain if digest.algorithm is Algorithm.SHA256), None)


def fingerprint(manifest: Manifest, digests: Mapping[str, str]) -> str:
    """Return one name for all that the source published of its files and for the sha256 of each.

    Raises KeyError if a file has none.
    """
    return hash_of_lines(f"{file.identity} {digests[file.path]} {file.path}" for file in manifest.files)


def hash_of_lines(lines: Iterable[str]) -> str:
    """Return the sha256 of lines, a newline between them. They may be too many to be in memory together."""
    running, between = hashlib.sha256(), b""
    for line in lines:
        running.update(between + line.encode())
        between = b"\n"
    return running.hexdigest()


def render(
    manifest: Manifest,
    digests: Mapping[str, str],
    date: datetime,
    proofs: Mapping[str, str],
    *,
    seal: str = "",
) -> bytes:
    """Return the checksum file of a manifest, sorted by path. Raises KeyError if a file has no digest."""
    lines = [f"# source: {one_line(manifest.uri)}"]
    if manifest.revision:
        lines.append(f"# revision: {one_line(manifest.revision)}")
    lines += [f"# date: {date:%Y-%m-%dT%H:%M:%SZ}", f"# fingerprint: {fingerprint(manifest, digests)}"]
    if seal:
        lines.append(f"# seal: {seal}")
    paths = sorted(file.path for file in manifest.files)
    lines += _proof_lines({path: proofs.get(path) or UNKNOWN for path in paths})
    content = bytearray("\n".join([*lines, ""]).encode())
    for path in paths:
        content += _line(digests[path], path).encode()
    return bytes(content)


def _proof_lines(proofs: Mapping[str, str]) -> Iterator[str]:
    usual = max(Counter(proofs.values()).items(), key=lambda item: item[1], default=(UNKNOWN, 0))[0]
    if usual != UNKNOWN:
        yield f"# proof: {usual}"
    yield from (f"# proof: {proof}  {_escape(path)}" for path, proof in proofs.items() if proof != usual)


def parse(raw: bytes) -> Checksums:
    """Read a checksum file that anybody may have written.

    Raises IntegrityError, naming the line, for anything but comments and checksums of distinct paths inside a folder.
    """
    if len(raw) > LARGEST:
        raise IntegrityError(f"a checksum file of {len(raw)} bytes is too long")
    files: dict[str, str] = {}
    comments: dict[str, str] = {}
    proofs: dict[str, str] = {}
    for number, line in _lines(raw):
        if line.startswith("#"):
            if (comment := _COMMENT.fullmatch(line)) and not files:
                comments[comment[1]] = comment[2]
            elif (proof := _PROOF.fullmatch(line)) and not files and len(proofs) < MOST_FILES:
                with suppress(IntegrityError):  # nothing depends on a comment
                    proofs[_unescape(proof[2] or "", number)] = proof[1]
        elif line:
            path, digest = _parse_line(line, number)
            if path in files:
                raise IntegrityError(f"line {number} of the checksum file lists a path again: {one_line(path, 200)}")
            if len(files) == MOST_FILES:
                raise IntegrityError(f"the checksum file lists more than {MOST_FILES} files")
            files[path] = digest
    _refuse_files_as_folders(files)
    return Checksums(files, **comments, proofs=proofs, raw=raw)


def _lines(raw: bytes) -> Iterator[tuple[int, str]]:
    """Yield each line that is not empty, and its number. A list of empty lines takes many times the room of a file."""
    for number, line in enumerate(io.BytesIO(raw), 1):
        if line != b"\n":
            try:
                yield number, line.removesuffix(b"\n").decode()
            except UnicodeDecodeError as error:
                raise IntegrityError("the checksum file is not UTF-8") from error


def _parse_line(line: str, number: int) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise IntegrityError(f"line {number} of the checksum file is no checksum: {one_line(line, 200)}")
    path = _unescape(found[3], number) if found[1] else found[3]
    path = path.removeprefix("./")
    too_long = len(path.encode()) > _LONGEST_PATH
    if too_long or _CONTROL.search(path) or any(part in ("", ".", "..") for part in path.split("/")):
        raise IntegrityError(f"line {number} of the checksum file has an impossible path: {one_line(path, 200)}")
    return path, found[2]


def _refuse_files_as_folders(files: Mapping[str, str]) -> None:
    folders = {path.rpartition("/")[0] for path in files}
    while folders := folders - {""}:
        if both := folders & files.keys():
            raise IntegrityError(f"the checksum file has {one_line(min(both), 200)} as a file and as a folder")
        folders = {folder.rpartition("/")[0] for folder in folders}


def _line(digest: str, path: str) -> str:
    escaped = _escape(path)
    marker = "" if escaped == path else "\\"
    return f"{marker}{digest}  {escaped}\n"


def _escape(path: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in path)


def _unescape(path: str, number: int) -> str:
    plain = {escape[1]: character for character, escape in _ESCAPES.items()}
    try:
        return _ESCAPED.sub(lambda found: plain[found[1]], path)
    except KeyError as error:
        raise IntegrityError(f"line {number} of the checksum file has an unknown escape") from error
