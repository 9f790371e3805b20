"""How an artifact is divided: into pieces of large files, and groups of small ones.

The division follows from the manifest alone, so that any number of processes agree on it without a word.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from downloader.artifact import Span
from downloader.integrity import may_combine
from downloader.lease import SHARDS
from downloader.shards.log import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from downloader.artifact import Manifest, RemoteFile

PIECES = 512
"""Pieces of an artifact, about: enough for each of 16 members to end within 3 % of the others. Each costs Python half a
millisecond."""
SHORTEST, LONGEST = 4 << 20, 256 << 20
"""Bytes of a piece. It ends at multiples of its length, so no two members write to one page of the cache."""
MOST_FILES = 1000
"""Files of a group."""


class Group(NamedTuple):
    """Files that one member fetches as a whole."""

    claim: str
    files: tuple[RemoteFile, ...]


class Division:
    """The work on one manifest."""

    def __init__(self, manifest: Manifest) -> None:
        even = -(-manifest.size // PIECES)
        self.piece = min(LONGEST, max(SHORTEST, -(-even // SHORTEST) * SHORTEST))
        self.shared = tuple(file for file in manifest.files if self.is_shared(file))
        whole = [file for file in manifest.files if not self.is_shared(file)]
        self.groups = tuple(Group(f"group.{number}", tuple(files)) for number, files in enumerate(self._grouped(whole)))

    def is_shared(self, file: RemoteFile) -> bool:
        """Return whether several members may fetch ranges of a file."""
        return file.sized and file.size > SHORTEST and may_combine(file)

    def pieces(self, file: RemoteFile) -> Sequence[Span]:
        """Return the pieces of a shared file, in order."""
        return [Span(start, min(start + self.piece, file.size)) for start in range(0, file.size, self.piece)]

    def _grouped(self, files: Sequence[RemoteFile]) -> Iterator[list[RemoteFile]]:
        group: list[RemoteFile] = []
        size = 0
        for file in files:
            if group and (len(group) >= MOST_FILES or size + file.size > self.piece):
                yield group
                group, size = [], 0
            group.append(file)
            size += file.size
        if group:
            yield group


def board_name(manifest: Manifest) -> str:
    """Return the name of the board of an artifact: only processes that divide the same files in the same way share one.

    Those that want other files, or others of them, have another board, and so have other releases of this program that
    divide them differently, or write logs that this one does not understand: a piece of the same number would be other
    bytes, so that each waits for the other to fetch what neither has.
    """
    division = Division(manifest)
    facts = (
        manifest.origin,
        manifest.revision or "",
        f"{VERSION} {division.piece} {[len(group.files) for group in division.groups]}",
        *(f"{file.path}\0{file.identity}\0{division.is_shared(file)}" for file in manifest.files),
    )
    return SHARDS + hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24]


def piece_claim(file: RemoteFile, round_: int, number: int) -> str:
    """Return the name of the claim of a piece."""
    return f"piece.{file.identity}.{round_}.{number}"


def hash_claim(file: RemoteFile, round_: int) -> str:
    """Return the name of the claim to hash a shared file, and to fetch it from its first byte on."""
    return f"hash.{file.identity}.{round_}"


def whole_claim(file: RemoteFile, round_: int) -> str:
    """Return the name of the claim of a file that has become one member's as a whole."""
    return f"whole.{file.identity}.{round_}"
