"""Lists an artifact without its origin, where that is down, blocked or gated: with proof from elsewhere, or not at all.

A mirror's word is worth nothing by itself. So what it lists counts only where something that it cannot change says the
same: an expected digest or list, the list that a finished run has left on the volume; or where the user trusts mirrors
about the commit that the URI names. No list has sizes: those are the mirrors' own, and a wrong one costs a download,
since no digest fits it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile, is_within
from downloader.cancellation import Cancellation
from downloader.errors import (
    AccessDenied,
    DownloadError,
    SourceNotFound,
    SourceUnavailable,
    Stalled,
    UntrustedServer,
)
from downloader.formatting import format_count, names_text, single_line
from downloader.integrity import artifact_digest, parse_header
from downloader.sources import SourceWrapper
from downloader.sources.hub_address import HubAddress
from downloader.volume import published_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from downloader.engine import Plan
    from downloader.progress import StallWatchdog
    from downloader.runs.places import Mirror, Places
    from downloader.sources import Source
    from downloader.sources.registry import ArtifactUri
    from downloader.sources.retrying import RetryingSource
    from downloader.volume import Volume

T = TypeVar("T")
ABSENT = (SourceUnavailable, Stalled, AccessDenied, SourceNotFound, UntrustedServer)
"""How an origin fails that is down, blocked or gated."""

log = logging.getLogger(__name__)


def listed_elsewhere(
    source: RetryingSource,
    uri: ArtifactUri,
    places: Places,
    *,
    volume: Volume,
    plan: Plan,
    run: Cancellation,
    watchdog: StallWatchdog,
) -> Source:
    """Return a source whose listing may come from elsewhere; the source itself if there are no mirrors.

    Names in a cache of the Hub are made of digests that only the Hub has, so nothing lists for a cache but the origin.
    """
    if not places.mirrors or plan.keeps_revisions:
        return source
    return ListedElsewhere(source, uri, places, volume=volume, plan=plan, run=run, watchdog=watchdog)


class ListedElsewhere(SourceWrapper):
    """An origin whose listing may come from its mirrors."""

    def __init__(
        self,
        source: RetryingSource,
        uri: ArtifactUri,
        places: Places,
        *,
        volume: Volume,
        plan: Plan,
        run: Cancellation,
        watchdog: StallWatchdog,
    ) -> None:
        """Prepare. `run` ends the wait for any place; the watchdog, that for one which stalls."""
        super().__init__(source)
        self._origin = source
        self._watchdog = watchdog
        self._uri = uri
        self._places = places
        self._volume = volume
        self._plan = plan
        self._run = run
        self._failure: DownloadError | None = None
        self._unlisted: list[Mirror] = []
        """Mirrors that answer and list nothing, such as a folder of a web server without a checksum file."""
        address = HubAddress.parse(uri.text) if uri.scheme.has_cache else None
        self._whole, self._below = (address.whole, address.folder) if address else ("", "")
        self._commit = address.revision if address and address.is_pinned else ""

    def version(self) -> str | None:
        """Return the origin's version; None if it cannot be asked: then `manifest` decides."""
        try:
            return self._ask_origin(lambda source: source.version())
        except ABSENT as error:
            self._failure = error
            return None

    def manifest(self) -> Manifest:
        """Return the origin's manifest, or one that is proved from elsewhere. Raises the origin's failure without."""
        if self._failure is None:
            try:
                return self._ask_origin(lambda source: source.manifest())
            except ABSENT as error:
                self._failure = error
        manifest = self._stand_in(self._failure)
        if manifest is None:
            raise self._without_proof(self._failure)
        self._places.abandon_origin()
        return manifest

    def _ask_origin(self, query: Callable[[Source], T]) -> T:
        def ask(asking: Cancellation) -> T:
            with asking.waking(self._places.interrupt_origin):
                return query(self._origin.until(asking))

        return self._guarded(ask)

    def _guarded(self, ask: Callable[[Cancellation], T]) -> T:
        """Ask one place. If it stalls, that ends the wait for this place, and not the run."""
        asking = Cancellation(self._run)
        self._watchdog.guard(asking)
        try:
            return ask(asking)
        except DownloadError:
            asking.check()  # a connection that was interrupted is not why
            raise
        finally:
            self._watchdog.guard(self._run)
            asking.close()

    def _stand_in(self, failure: DownloadError) -> Manifest | None:
        lists = list(self._lists())
        by_listing = bool(self._plan.expectation.digest or (self._plan.trust_mirror and self._commit))
        if not lists and not by_listing:
            return None
        log.warning("the origin cannot be asked: %s", failure.message)
        listings = self._listings()
        for files, name, revision in lists:
            manifest = self._of_list(files, listings, revision)
            if manifest is not None:
                log.warning("going on without it, by %s%s", name, f" at revision {revision}" if revision else "")
                return manifest
        return self._of_mirror(listings) if by_listing else None

    def _lists(self) -> Iterator[tuple[Mapping[str, str], str, str]]:
        """Yield the lists that need no mirror: path → sha256, the name for the log, the revision if it is known."""
        expectation = self._plan.expectation
        if expectation.files is not None:
            yield expectation.files, f"the expected list {expectation.name}", ""
        recorded = self._volume.last_recorded()
        if recorded is None or recorded.source != single_line(self._uri.shown):
            return
        self._whole = recorded.origin
        is_this = self._commit in ("", recorded.revision) and expectation.files is None
        if is_this and expectation.digest in ("", artifact_digest(recorded.digests)):
            yield recorded.digests, "the list that the last download has left here", recorded.revision

    def _listings(self) -> list[tuple[Mirror, Manifest]]:
        """Return what each mirror lists, of those that can be asked and that list anything."""
        found, self._unlisted = [], []
        for mirror in self._places.mirrors:
            try:
                found.append((mirror, self._guarded(mirror.listing)))
            except DownloadError as error:
                self._run.check()
                log.warning("mirror %s does not list it: %s", mirror.name, error.message)
                if isinstance(error, SourceNotFound):
                    self._unlisted.append(mirror)
        return found

    def _of_list(
        self, files: Mapping[str, str], listings: Sequence[tuple[Mirror, Manifest]], revision: str
    ) -> Manifest | None:
        """Return the files of a list, with the sizes that all mirrors tell; None if they lack one of them."""
        wanted = self._asked_for(sorted(files))
        sizes: dict[str, set[int]] = {path: set() for path in wanted}
        for _, listing in listings:
            for file in listing.files:
                if file.path in sizes and file.sized:
                    sizes[file.path].add(file.size)
        if self._unlisted:  # one of these may have a file of another size, which would be refused
            sizes = {path: set() for path in wanted}
        elif lacking := [path for path in wanted if not sizes[path] and not self._volume.has(path)]:
            log.warning("no mirror has %s: %s", format_count(len(lacking), "file"), names_text(lacking))
            return None
        return self._manifest({path: (files[path], sizes[path]) for path in wanted}, revision)

    def _asked_for(self, paths: Iterable[str]) -> Collection[str]:
        """Return those of all paths that the URI and the filters choose."""
        inside = [path for path in paths if is_within(path, self._below)]
        return inside if inside == [self._below] else self._plan.file_filter.choose(inside)

    def _of_mirror(self, listings: Sequence[tuple[Mirror, Manifest]]) -> Manifest | None:
        """Return the listing of a mirror that the expected digest proves, or that is trusted."""
        for mirror, listing in listings:
            published = published_digests(listing)
            chosen = {path: published[path] for path in self._asked_for(published)}
            revision = self._commit if self._plan.trust_mirror and self._commit == _claimed(listing) else ""
            if self._plan.expectation.digest:
                if self._has_expected_digest(mirror, chosen):
                    return self._of_list(chosen, listings, revision)  # whose sizes need not be right, though
            elif revision and chosen:
                log.warning("going on without it: mirror %s is trusted to have revision %s", mirror.name, revision)
                return self._of_trusted(listing, chosen)
            else:
                log.warning("mirror %s lists another artifact", mirror.name)
        return None

    def _has_expected_digest(self, mirror: Mirror, chosen: Mapping[str, str]) -> bool:
        """Tell whether the path → sha256 that a mirror lists has the expected digest, and say so in the log."""
        if not all(chosen.values()):
            log.warning("mirror %s has no sha256 of every file, so that nothing proves its list", mirror.name)
        elif artifact_digest(chosen) != self._plan.expectation.digest:
            log.warning("mirror %s lists another artifact", mirror.name)
        else:
            log.warning("going on without it: what mirror %s lists has the expected digest", mirror.name)
            return True
        return False

    def _of_trusted(self, listing: Manifest, chosen: Mapping[str, str]) -> Manifest:
        """Return the listing of a mirror that is trusted, with whatever digests it publishes."""
        published = {file.path: file for file in listing.files if file.path in chosen}
        found = self._manifest({path: (chosen[path], _size(file)) for path, file in published.items()}, self._commit)
        files = (replace(file, digests=file.digests or published[file.path].digests) for file in found.files)
        return replace(found, files=tuple(files))

    def _manifest(self, files: Mapping[str, tuple[str, set[int]]], revision: str) -> Manifest:
        """Return the files as no place has them, so that each mirror is asked for them in its own way.

        A file of which the mirrors tell different sizes, or none, has no size until its digest is right.
        """
        found = []
        for path, (sha256, sizes) in sorted(files.items()):
            digests = (Digest(Algorithm.SHA256, sha256),) if sha256 else ()
            sized = len(sizes) == 1
            found.append(RemoteFile(path, next(iter(sizes)) if sized else 0, digests, sized=sized))
        single = len(found) == 1 and found[0].path == self._below
        return Manifest(
            self._uri.shown, tuple(found), revision or None, single=single, whole=self._whole, below=self._below
        )

    def _without_proof(self, failure: DownloadError) -> DownloadError:
        """Return the origin's failure, which says as well what would have let the run go on."""
        if self._plan.expectation or self._plan.trust_mirror:
            proof = "no mirror has what is expected (docs/mirrors.md)"
        else:
            also = ", or a commit in the URI and --trust-mirror" if self._whole else ""
            also = ", or --trust-mirror" if self._commit else also
            proof = f"its mirrors do with --expect-digest or --expect-list{also} (docs/mirrors.md)"
        failure.hint = f"{failure.hint or failure.remedy}; {proof}"
        return failure


def _size(file: RemoteFile) -> set[int]:
    return {file.size} if file.sized else set()


def _claimed(listing: Manifest) -> str:
    """Return the commit that a mirror says its files are of: the Hub's answer, or a comment of its checksum file."""
    if listing.revision:
        return listing.revision
    return parse_header(listing.checksums)[0].revision if listing.checksums is not None else ""
