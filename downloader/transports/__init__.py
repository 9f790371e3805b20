"""Transports: the code that moves the bytes of a protocol onto the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from downloader.artifact import Algorithm, RemoteFile
    from downloader.errors import DownloadError
    from downloader.volume import Partial


class Landing(Protocol):
    """Where a transport brings files to. All methods may be called from any thread."""

    def begin(self, file: RemoteFile) -> Partial:
        """Open the file's partial, with whatever an earlier run or another protocol has left in it."""

    def deliver(self, partial: Partial, results: Mapping[Algorithm, str]) -> None:
        """Take a full partial and the digests of its bytes, and give the file its final name.

        Raises IntegrityError when the digests are not the published ones; the partial is then empty again.
        """

    def fail(self, file: RemoteFile, error: DownloadError) -> None:
        """Leave the file to the next attempt. An error whose verdict is STOP ends the run."""


class Transport(Protocol):
    """One way to bring files home."""

    def fetch(self, files: Sequence[RemoteFile], landing: Landing) -> None:
        """Bring every file home: each must end in exactly one `deliver` that holds, or one `fail`.

        Raises the reason of its cancellation, which leaves the remaining files where they are.
        """
