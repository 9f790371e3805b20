"""The interfaces between a transport, which fetches bytes, and a file sink, which takes them."""

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
    """The first bytes, which show whether it is the kind of file that its name says."""


class FileSink(Protocol):
    """Takes the files of an attempt. All methods are thread-safe."""

    def begin(self, file: RemoteFile) -> Partial:
        """Open the file's partial, with the bytes that an earlier run or another protocol left."""

    def inspect(self, file: RemoteFile, head: bytes) -> None:
        """Check a file's first bytes as soon as they are hashed. Raises UnexpectedContent if they cannot be right."""

    def commit(self, completed_files: Sequence[CompletedFile]) -> Mapping[str, IntegrityError]:
        """Verify files and give them their final names, all with one round of syncs.

        Returns the errors of rejected files by path. Their partials are gone; the transport fetches them again or
        reports them to `fail`.
        """

    def fail(self, file: RemoteFile, error: DownloadError) -> None:
        """Leave the file to the next attempt. The attempt ends if the error concerns all files."""


class Transport(Protocol):
    """Transfers files over one protocol."""

    def fetch(self, files: Sequence[RemoteFile], sink: FileSink) -> None:
        """Transfer every file: each must be committed without being rejected exactly once, or fail exactly once.

        Raises the reason of a cancellation; the remaining files are then neither committed nor failed.
        """
