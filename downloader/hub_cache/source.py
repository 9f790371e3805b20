"""A repository as its blobs: the engine downloads each content once, under the name that it has in the cache."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from downloader.hub_cache.layout import blob_path, snapshot_path
from downloader.sources import SourceWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.artifact import Manifest, RemoteFile, Span
    from downloader.filters import FileFilter
    from downloader.integrity import Expectation
    from downloader.sources import Body, Source


@dataclass(frozen=True, slots=True)
class CachedRevision:
    """The files of one commit that a run is asked for, and where the bytes of each are."""

    manifest: Manifest
    """The files under the names that the repository has for them."""
    blobs: Mapping[str, str] = field(repr=False)
    """Path in the repository → path in the folder of the cache."""
    listed: Sequence[RemoteFile] = field(repr=False)
    """These files and those that the filters leave out."""

    @property
    def commit(self) -> str:
        """The commit."""
        return self.manifest.revision or ""


class BlobSource(SourceWrapper):
    """A source whose files are the blobs of a repository. `linked` says whether the volume has symlinks.

    `named` returns the commit that the cache has for the revision, which is looked up before the Hub is asked. Filters
    choose by the names that the repository has, so they are applied here and not by the engine; so is a list of
    expected files.
    """

    def __init__(
        self,
        source: Source,
        file_filter: FileFilter,
        expectation: Expectation,
        *,
        linked: Callable[[], bool],
        named: Callable[[], str],
    ) -> None:
        super().__init__(source)
        self._filter = file_filter
        self._expectation = expectation
        self._linked = linked
        self._named = named
        self.named_before: str | None = None
        """What the cache had for the revision when the Hub was asked first; None before that."""
        self._files: dict[str, RemoteFile] = {}
        self.revision: CachedRevision | None = None
        """What was listed last."""

    def version(self) -> str | None:
        """Return the version of the chosen files."""
        self._look()
        return self._filter.version_of(self._source.version())

    def manifest(self) -> Manifest:
        """Return the manifest of the blobs, each once. Raises ProtocolFailed for a file without a digest."""
        self._look()
        listed = self._source.manifest()
        named = self._expectation.listed(self._filter.of(listed), self._filter.choose)
        commit, linked = named.revision or "", self._linked()
        blobs = {file.path: blob_path(file) if linked else snapshot_path(commit, file.path) for file in named.files}
        self._files = {blobs[file.path]: file for file in named.files}
        self.revision = CachedRevision(named, blobs, listed.files)
        files = tuple(replace(file, path=blob) for blob, file in sorted(self._files.items()))
        return replace(named, files=files, below="", single=False, checksums=None)

    def _look(self) -> None:
        if self.named_before is None:
            self.named_before = self._named()

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a range of a blob."""
        return self._source.open(self._files[file.path], span)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass on the hint."""
        self._source.prefetch([(self._files[file.path], span) for file, span in pieces])


class RecordedSource(SourceWrapper):
    """A source that stays offline: an earlier run has recorded what it lists."""

    def __init__(self, source: Source, recorded: Callable[[], Manifest]) -> None:
        super().__init__(source)
        self._recorded = recorded

    def manifest(self) -> Manifest:
        """Return what was recorded, for the version that the source was told. Raises ConfigurationError without it."""
        version = self._source.version()
        return replace(self._recorded(), version=version)
