"""What one member knows of a file that several members fetch: what it has taken, and what is on the disk."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.volume import ByteRanges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact import RemoteFile


class SharedFile:
    """What this member knows and does of one shared file in one round."""

    def __init__(self, file: RemoteFile, pieces: Sequence[Span], round_: int, done: ByteRanges) -> None:
        self.file = file
        self.round = round_
        self.done = done
        """What is on the disk, from all members; it grows by itself."""
        self.taken = ByteRanges()
        """What this member fetches or has fetched in this attempt."""
        self.hashes = False
        self._pieces = pieces
        self._left: list[int] = []
        self._left_at: tuple[int, int] | None = None
        """What was on the disk and taken when the pieces that are left were looked for."""
        self._seen = ByteRanges()
        self._hashed = ByteRanges()
        """What the transport knows of a file that it hashes."""

    def counted(self) -> int:
        """Return how many bytes others have put on the disk since the last call."""
        new = _without(_without(self.done, self.taken), self._seen)
        for span in new:
            self._seen.add(span)
        return new.size

    def rest(self) -> int:
        """Return how many bytes others have put on the disk besides those, now that the file is verified.

        The last ones of a file are in the log of no member: that the file is verified says so as well.
        """
        new = _without(_without(ByteRanges([self.file.span]), self.taken), self._seen)
        self._seen = ByteRanges([self.file.span])
        return new.size

    def begin_hashing(self) -> None:
        """Hash the file from now on, with what is on the disk by now."""
        self.hashes = True
        self._hashed = ByteRanges(self.done)

    def found(self) -> list[Span]:
        """Return the ranges that are new on the disk and have to be read to be hashed."""
        new = list(_without(_without(self.done, self.taken), self._hashed))
        for span in new:
            self._hashed.add(span)
        return new

    def left(self) -> list[int]:
        """Return the numbers of the pieces that are neither on the disk nor taken, in order."""
        # Asked for before each claim, of all files: looking at every piece each time would cost more than to fetch it.
        now = self.done.size, self.taken.size
        if now != self._left_at:
            self._left_at = now
            length, covered = len(self._pieces[0]), ByteRanges(self.done)
            for span in self.taken:
                covered.add(span)
            gaps = covered.missing(self.file.size)
            self._left = sorted({n for gap in gaps for n in range(gap.start // length, -(-gap.stop // length))})
        return self._left

    def lacking(self, number: int) -> list[Span]:
        """Return the ranges of a piece that are neither on the disk nor taken."""
        return list(_without(_without(ByteRanges([self._pieces[number]]), self.done), self.taken))

    def take(self, number: int) -> list[Span]:
        """Take a piece, and return the ranges of it that have to be fetched."""
        spans = self.lacking(number)
        for span in spans:
            self.taken.add(span)
        return spans

    @property
    def is_at_rest(self) -> bool:
        """Whether all that this member has taken is on the disk."""
        return not _without(self.taken, self.done)


def _without(ranges: ByteRanges, others: ByteRanges) -> ByteRanges:
    """Return the bytes of `ranges` that are not in `others`."""
    found = ByteRanges()
    spans = list(ranges)
    gaps = others.missing(spans[-1].stop) if spans else []
    at = 0
    for span in spans:
        while at < len(gaps) and gaps[at].stop <= span.start:
            at += 1
        for gap in islice(gaps, at, None):
            if gap.start >= span.stop:
                break
            found.add(Span(max(gap.start, span.start), min(gap.stop, span.stop)))
    return found
