"""The interfaces between a transport, which fetches bytes, and a file sink, which takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from downloader.artifact import Algorithm, RemoteFile, Span
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

    def inspect(self, file: RemoteFile, head: bytes, hashed: int) -> int:
        """Check a file's first bytes as soon as they are hashed. Raises IntegrityError if no more of it is wanted.

        `head` has the very first ones; all `hashed` ones can be read from the partial. Returns the number of hashed
        bytes at which to call it again, 0 for never.
        """

    def commit(self, completed_files: Sequence[CompletedFile]) -> Mapping[str, IntegrityError]:
        """Verify files and give them their final names, all with one round of syncs.

        Returns the errors of rejected files by path. Their partials are gone; the transport fetches them again or
        reports them to `fail`.
        """

    def fail(self, file: RemoteFile, error: DownloadError) -> None:
        """Leave the file to the next attempt. The attempt ends if the error concerns all files."""


class Intake(Protocol):
    """Takes the work that a feed finds for a transport. For one thread."""

    connections: int
    """That the transport begins with."""

    def add(self, files: Sequence[RemoteFile]) -> None:
        """Fetch whole files."""

    def share(self, file: RemoteFile, spans: Sequence[Span], found: Sequence[Span] = (), *, hashes: bool) -> None:
        """Fetch more ranges of a file that other processes fetch, too; `found` are on the volume by now.

        One process `hashes` the file and commits it. The first call for a file decides whether this one does.
        """

    def drop(self, file: RemoteFile) -> None:
        """Give up a shared file, whose bytes have become useless or are all recorded: `share` opens it again."""

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` until the transport will soon have nothing to do; return whether that is so."""

    def sleep(self, seconds: float) -> None:
        """Sleep; raises the reason if the attempt ends meanwhile."""

    @property
    def is_idle(self) -> bool:
        """Whether the transport has done all that it was given, as far as that does not wait for other processes."""


class Feed(Protocol):
    """Finds work for a transport while it runs, where several processes fetch the same files."""

    def run(self, intake: Intake) -> None:
        """Add work until nothing is left that this attempt can do. Raises to end the attempt."""

    def rejected(self, file: RemoteFile) -> bool:
        """Return whether a file whose bytes are wrong will be fed again."""


class Transport(Protocol):
    """Transfers files over one protocol."""

    def fetch(self, files: Sequence[RemoteFile], sink: FileSink, feed: Feed | None = None) -> None:
        """Transfer every file: each must be committed without being rejected exactly once, or fail exactly once.

        With a `feed`, these are all that may come, and it says which of them, and which ranges. Raises the reason of a
        cancellation; the remaining files are then neither committed nor failed.
        """
