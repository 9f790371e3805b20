"""Bytes of a file that is judged, at offsets or one after another, with a bound on each read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LENGTH: Final = 1 << 20
"""Bytes of one string or line that are kept."""
MAX_LINE_LENGTH: Final = 64 << 20
"""Bytes of a line that are passed over."""
WINDOW: Final = 64 << 10
"""Bytes that are read ahead."""


class Content:
    """The bytes of a file, or of a part of one. `read` takes an offset and a number of bytes, and may return fewer."""

    def __init__(self, read: Callable[[int, int], bytes], size: int, *, forward: bool = False) -> None:
        """Prepare. `forward`: reaching the end is expensive, since it must be decompressed."""
        self._read = read
        self.size = size
        self.forward = forward

    def up_to(self, offset: int, count: int) -> bytes:
        """Return at most `count` bytes from `offset` on."""
        count = min(count, self.size - offset)
        return self._read(offset, count) if count > 0 else b""

    def exactly(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on. Raises ValueError if the file has fewer."""
        found = self.up_to(offset, count)
        if len(found) != count:
            raise ValueError("it ends too early")
        return found

    def part(self, offset: int, size: int) -> Content:
        """Return a part of it. Raises ValueError if it has no such part."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ValueError("a part is outside the file")
        return Content(lambda start, count: self._read(offset + start, count), size)


class Skipped(bytes):
    """Stands for bytes that were passed over: empty, and as long as those were."""

    _skipped = 0

    def __new__(cls, skipped: int) -> Skipped:  # noqa: PYI034 - a length of its own
        """Return one that is `skipped` bytes long."""
        made = super().__new__(cls)
        made._skipped = skipped
        return made

    def __len__(self) -> int:
        return self._skipped


class Cursor:
    """Reads a content from an offset on, like a binary file. Long strings are passed over, as `Skipped`."""

    def __init__(self, content: Content, offset: int = 0) -> None:
        self._content = content
        self._start = offset
        self._at = 0
        self._window = b""

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._start + self._at

    @property
    def left(self) -> int:
        """Bytes up to the end."""
        return self._content.size - self.tell()

    def skip(self, count: int) -> None:
        """Skip `count` bytes. Raises ValueError if there are fewer."""
        if count > self.left:
            raise ValueError("it ends too early")
        self._at += count
        if self._at > len(self._window):
            self._start, self._at, self._window = self.tell(), 0, b""

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end; `Skipped` in place of very many."""
        end = self._at + count
        if end > len(self._window):
            if count > MAX_LENGTH:
                count = min(count, self.left)
                self.skip(count)
                return Skipped(count)
            self._fill(count)
            end = self._at + count
        found = self._window[self._at : end]
        self._at += len(found)
        return found

    def exactly(self, count: int) -> bytes:
        """Return the next `count` bytes. Raises ValueError if there are fewer."""
        found = self.read(count)
        if len(found) != count:
            raise ValueError("it ends too early")
        return found

    def line(self) -> bytes:
        """Return the next line without its end; `Skipped` in place of a very long one.

        Raises ValueError if it has no end.
        """
        passed = 0
        while (end := self._window.find(b"\n", self._at)) < 0:
            self._fill(MAX_LENGTH)
            if b"\n" not in self._window:
                passed += len(self._window)
                self._at = len(self._window)
                if not self.left or passed > MAX_LINE_LENGTH:
                    raise ValueError("it has a line without an end")
        found = self._window[self._at : end]
        self._at = end + 1
        return Skipped(passed + len(found)) if passed else found

    def _fill(self, count: int) -> None:
        self._start, self._at = self.tell(), 0
        self._window = self._content.up_to(self._start, max(count, WINDOW))


class Seekable(io.RawIOBase):
    """A content as a binary file, for `zipfile`, which reads the directory of an archive at once."""

    def __init__(self, content: Content, largest: int) -> None:
        """Prepare. No more than `largest` bytes are read at once."""
        super().__init__()
        self._content = content
        self._largest = largest
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset. Raises ValueError for a negative one."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._content.size}[whence]
        if base + offset < 0:
            raise ValueError("an offset before the file")
        self._at = base + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes. Raises ValueError for too many."""
        count = self._content.size - self._at if count is None or count < 0 else count
        if count > self._largest:
            raise ValueError("its directory is too large to be judged")
        found = self._content.up_to(self._at, count)
        self._at += len(found)
        return found
