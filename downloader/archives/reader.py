"""Reads an archive on the volume, twice in the same order: to validate it, and to unpack it."""

from __future__ import annotations

import io
import tarfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Self

from downloader.archives import tar, zip  # noqa: A004 - a format, not the builtin
from downloader.archives.entries import ZIP, ArchiveRejected, Entry, archive_rejected
from downloader.errors import DownloadError, IntegrityError
from downloader.formatting import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.filesystem import Reading

BUFFER = 1 << 20


class Archive:
    """An archive in the target. Raises IntegrityError where it is damaged or of another format than its name says.

    A context; what `entries` yields is valid inside it. `check` is called at each read and raises to cancel.
    """

    def __init__(self, reading: Reading, name: str, check: Callable[[], None]) -> None:
        """Open an archive; `reading` is closed with it, `name` is its path in the target."""
        self.name = name
        stored = StoredFile(reading, check)
        self.size = stored.size
        self._raw: io.BufferedReader = io.BufferedReader(stored, BUFFER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def entries(self) -> Iterator[tuple[Entry, Content]]:
        """Yield every entry from start to end. A content is valid until the next entry is requested."""
        self._raw.seek(0)
        walk = zip.walk if self.name.lower().endswith(ZIP) else tar.walk
        with map_exceptions(self.name):
            for entry, opener in walk(self._raw, self.size):
                yield entry, Content(self.name, opener)


class Content:
    """The bytes of one file in an archive, opened when first read."""

    def __init__(self, name: str, opener: Callable[[], IO[bytes]]) -> None:
        self._name = name
        self._opener = opener
        self._stream: IO[bytes] | None = None

    def readinto(self, view: memoryview) -> int:
        """Fill the view, up to the end of the file, and return the number of bytes."""
        with map_exceptions(self._name):
            if self._stream is None:
                self._stream = self._opener()
            data = self._stream.read(len(view))
            view[: len(data)] = data
            return len(data)


class StoredFile(io.RawIOBase):
    """A file of the target as Python's libraries read it. `check` is called at each read and raises to cancel."""

    def __init__(self, reading: Reading, check: Callable[[], None]) -> None:
        super().__init__()
        self._reading = reading
        self._check = check
        self._position = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return self._reading.found.size

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # io.BufferedReader gives nothing else
        """Fill the buffer, up to the end of the file."""
        self._check()
        count = self._reading.readinto(self._position, memoryview(buffer).cast("B"))
        self._position += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Change the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._reading.__exit__()
        super().close()


@contextmanager
def map_exceptions(name: str) -> Iterator[None]:
    """Turn what the libraries raise for the archive of this name into our errors."""
    try:
        yield
    except IntegrityError as error:
        raise archive_damaged(name, error.message) from error
    except DownloadError:
        raise
    except (ArchiveRejected, tarfile.FilterError) as error:
        raise archive_rejected(name, str(error)) from error
    except Exception as error:  # a parser of untrusted bytes may fail with anything
        raise archive_damaged(name, reason(error)) from error


def archive_damaged(name: str, problem: str) -> IntegrityError:
    """Return the error for an archive that cannot be read."""
    hint = "it is as its source has it: see whether it can be unpacked there"
    return IntegrityError(f"the archive {name} cannot be unpacked: {problem}", hint=hint)
