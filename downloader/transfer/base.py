"""Transports: the code that moves the bytes of a protocol onto the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from downloader.artifact import Algorithm, RemoteFile
    from downloader.errors import DownloadError, IntegrityError
    from downloader.volume import CompletePartial, Partial


class CompletedFile(NamedTuple):
    """A complete partial, and the digests of its bytes."""

    partial: CompletePartial
    results: Mapping[Algorithm, str]
    head: bytes
    """Its first bytes: they say whether it is the kind of file that its name says."""


class FileSink(Protocol):
    """Where a transport brings files to. All methods may be called from any thread."""

    def begin(self, file: RemoteFile) -> Partial:
        """Open the file's partial, with whatever an earlier run or another protocol has left in it."""

    def inspect(self, file: RemoteFile, head: bytes) -> None:
        """Look at a file's first bytes as soon as they are there. Raises what ends the run if they cannot be right."""

    def commit(self, completed_files: Sequence[CompletedFile]) -> Mapping[str, IntegrityError]:
        """Give files their final names, all with one round of syncs.

        Returns, by path, what is wrong with those whose digests are not the published ones: their partials are empty
        again, and they are fetched again or given to `fail`.
        """

    def fail(self, file: RemoteFile, error: DownloadError) -> None:
        """Leave the file to the next attempt. An error whose verdict is STOP ends the run."""


class Transport(Protocol):
    """One way to bring files home."""

    def fetch(self, files: Sequence[RemoteFile], sink: FileSink) -> None:
        """Bring every file home: each must be delivered and not refused exactly once, or fail once.

        Raises the reason of its cancellation, which leaves the remaining files where they are.
        """
