"""Runs the plan: lists the artifact, compares it with the volume, and gets what is missing fetched."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from downloader.cancellation import Cancellation
from downloader.engine.attempts import Attempts
from downloader.engine.existing_files import hash_existing, older_files, report_existing, require_room, sort_existing
from downloader.engine.expected import expected_listing, expected_publication, is_expected
from downloader.engine.finalizer import PublishAsDownloaded
from downloader.engine.plan import Outcome, Plan
from downloader.errors import SourceChanged, SourceNotFound, VolumeError
from downloader.events import Listed
from downloader.formatting import format_count, format_size
from downloader.integrity import SIZE_ONLY, Verifier, artifact_digest
from downloader.progress import Phase
from downloader.volume import FileState

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSet, Sequence
    from contextlib import AbstractContextManager

    from downloader.artifact import Manifest, RemoteFile
    from downloader.engine.finalizer import Finalizer
    from downloader.engine.places import Route
    from downloader.engine.preview import Preview, Previewer
    from downloader.engine.sink import VolumeSink
    from downloader.progress import ProgressMeter, StallWatchdog
    from downloader.shards import Member
    from downloader.sources import Source
    from downloader.transfer import Feed
    from downloader.volume import InventoryEntry, Volume

T = TypeVar("T")
MAX_RELISTINGS = 2
"""How often a source may change during a run before the run fails."""

log = logging.getLogger(__name__)


class Engine:
    """One run over one volume. The lease is acquired only if something has to be written."""

    def __init__(
        self,
        source: Source,
        volume: Volume,
        routes: Sequence[Route],
        plan: Plan,
        *,
        meter: ProgressMeter,
        watchdog: StallWatchdog,
        cancellation: Cancellation,
        lease: Callable[..., AbstractContextManager[None]],
        finalizer: Finalizer | None = None,
    ) -> None:
        """Prepare a run.

        The bytes come along the `routes`, in their order. `lease` acquires the volume's lease, and calls its `on_lost`
        in another thread if that is lost. `finalizer` works on the verified files before they are published.
        """
        self._source = source
        self._volume = volume
        self._plan = plan
        self._meter = meter
        self._watchdog = watchdog
        self._cancellation = cancellation
        self._lease = lease
        self._finalizer: Finalizer = finalizer or PublishAsDownloaded()
        self._routes = routes
        self._verifier = Verifier()
        self._fetched: MutableSet[str] = set()
        self._places: dict[str, str] = {}
        self._finished_before: object = None
        """The last finish on the volume when the artifact was listed."""
        self._ending = Cancellation(cancellation)
        """Ends the attempts, and whatever else may take long under the lease."""
        self._member: Member | None = None
        """In the place of the volume, where several processes share the work."""
        self.outcome: Outcome | None = None
        """What the run has achieved so far, also when it fails; None before the artifact is listed."""

    def run(self) -> Outcome:
        """Make the artifact complete on the volume. Raises DownloadError; the next run can always continue."""
        # As long as nothing has to be written, no lease is needed, and a read-only volume will do.
        outcome = self._find_completed()
        if outcome is None:
            self._finished_before = self._volume.last_finish()
            manifest = self._list_artifact()
            outcome = self._find_published(manifest)
        if outcome is not None:
            return self._finish(outcome)
        return self._work(manifest)

    def _work(self, manifest: Manifest) -> Outcome:
        """Make the artifact complete, since something has to be written."""
        with self._lease(on_lost=self._ending.cancel):
            return self._work_with_lease(self._newest(manifest))

    def _newest(self, manifest: Manifest) -> Manifest:
        """Return the manifest, or one of now if another run has finished while this one waited for the lease.

        What that run has listed may be newer: to publish an older listing would set the volume back.
        """
        if self._volume.last_finish() in (None, self._finished_before):
            return manifest
        return self._list_again("another run has finished here since the artifact was listed")

    def _list_again(self, why: str) -> Manifest:
        log.warning("%s; listing it again", why)
        self._meter.reset()
        return self._list_artifact()

    def _work_with_lease(self, manifest: Manifest) -> Outcome:
        for relistings_left in range(MAX_RELISTINGS, -1, -1):
            try:
                return self._finish(self._make_complete(manifest))
            except (SourceChanged, SourceNotFound) as error:
                # A file that was listed and is gone may be gone from the next listing, too.
                if not relistings_left:
                    raise
                manifest = self._list_again(error.message)
            except VolumeError:
                # If the lease was lost while this process slept, any operation may have failed: say why.
                self._volume.check_lease()
                raise
        raise AssertionError("unreachable")

    def preview(self, previewer: Previewer) -> Preview:
        """Return what `run` would do, without the lease. Raises DownloadError if the run would fail before it."""
        manifest = self._list_artifact()
        return previewer.preview(manifest, self._finalizer.inventory(self._volume, manifest))

    def _find_completed(self) -> Outcome | None:
        """Return the finished artifact if its source still has that version; None if only a listing can tell.

        The volume is checked after the source was asked, since another run may begin to change it meanwhile.
        """
        version = self._plan.file_filter.version_of(self._query_source(self._source.version))
        completed = self._volume.completed() if version else None
        if version is None or completed is None or not completed.fits(version):
            return None
        if self._plan.removes_older and completed.has_older:
            return None
        manifest, proofs = completed.manifest, completed.proofs
        accepted = all(self._plan.accepts_proof(proofs[file.path]) for file in manifest.files)
        if not accepted or not self._finalizer.is_final(completed) or not is_expected(completed, self._plan):
            return None
        self._meter.expect(manifest.size, len(manifest.files))
        self._meter.add_reused(manifest.size)
        self._meter.add_done_files(len(manifest.files))
        self.outcome = Outcome(manifest, completed.digests, proofs, digest=artifact_digest(completed.digests))
        return self.outcome

    def _query_source(self, query: Callable[[], T]) -> T:
        """Call the source for something about the whole artifact, guarded by the watchdog."""
        self._meter.enter(Phase.LISTING)
        self._watchdog.guard(self._cancellation)
        try:
            with self._meter.waiting_for_network():
                answer = query()
        finally:
            self._watchdog.guard(None)
        self._cancellation.check()
        return answer

    def _list_artifact(self) -> Manifest:
        manifest = self._plan.file_filter.of(self._query_source(self._source.manifest))
        manifest = expected_listing(manifest, self._plan, self._finalizer)
        if self._plan.require_digest:
            for file in manifest.files:
                if not file.digests:
                    self._plan.require_proof(file, SIZE_ONLY)
        self._meter.expect(manifest.size, len(manifest.files))
        self.outcome = Outcome(manifest)
        listed = Listed(files=len(manifest.files), bytes=manifest.size, revision=manifest.revision)
        log.info("listed %s, %s", format_count(listed.files, "file"), format_size(listed.bytes), extra=listed.extra())
        return manifest

    def _find_published(self, manifest: Manifest) -> Outcome | None:
        """Return the finished artifact if it is what the source lists; None if something is missing."""
        inventory = self._finalizer.inventory(self._volume, manifest)
        if not inventory.published or not all(map(self._plan.accepts_proof, inventory.entries.proofs)):
            return None
        if self._plan.removes_older and older_files(manifest, inventory, self._plan):
            return None
        self.outcome = outcome = Outcome.of(manifest)
        for entry in inventory.having(FileState.VERIFIED):
            self._record_verified(entry, outcome)
        outcome.complete()
        published = inventory.unpacked or self._finalizer.published(manifest, inventory.digests) or {}
        self._plan.expectation.require(manifest.uri, published, whole=bool(inventory.unpacked))
        outcome.digest = artifact_digest(published)
        return outcome

    def _make_complete(self, manifest: Manifest) -> Outcome:
        """Bring the volume to the state of one listing, and publish it."""
        outcome, missing = self._check_existing(manifest)
        if missing:
            self._fetch_missing(missing, outcome)
        self._meter.enter(Phase.VERIFYING)
        outcome.complete()
        publication, digest = expected_publication(
            self._volume, outcome, self._plan, self._finalizer, self._ending.check
        )
        self._volume.publish(*publication)
        outcome.digest = digest
        return outcome

    def _finish(self, outcome: Outcome) -> Outcome:
        self._meter.enter(Phase.DONE)
        return outcome

    def _check_existing(self, manifest: Manifest) -> tuple[Outcome, Sequence[RemoteFile]]:
        """Verify what is on the volume; return that, and the missing files, for which there is room."""
        inventory = self._finalizer.inventory(self._volume, manifest)
        if inventory.shared:
            self._end_shared_work(manifest)
            inventory = self._finalizer.inventory(self._volume, manifest)
        if inventory.stale_files:
            log.info("removed %s of old partial files", format_size(self._volume.reclaim(inventory)))
        self.outcome = outcome = Outcome.of(manifest, self._fetched, self._places)
        self._fetched = outcome.fetched
        verified, unverified = sort_existing(inventory, self._plan)
        for entry in verified:
            self._record_verified(entry, outcome)
        if unverified:
            self._meter.enter(Phase.CHECKING, f"checking {format_count(len(unverified), 'file')} on the volume already")
        wrong: set[str] = set()
        needed = inventory.needed_bytes
        hashing = hash_existing(self._volume, unverified, self._plan, self._meter, self._ending)
        for entry, hashed in zip(unverified, hashing, strict=True):
            if hashed is None:
                wrong.add(entry.file.path)
                needed += entry.file.size
            else:
                self._record_verified(hashed, outcome)
        missing = inventory.missing(wrong)
        report_existing(self._volume, manifest, inventory, missing, self._plan)
        self._meter.add_reused(missing.done_bytes)
        if missing:
            self._volume.require_names(manifest)
            require_room(self._volume, inventory, missing, needed, self._plan)
        return outcome, missing.files

    def _end_shared_work(self, manifest: Manifest) -> None:
        """Keep what several processes have fetched together, and end their work: this one works alone."""
        from downloader.shards import boards, keep_progress, remove_board  # noqa: PLC0415 -- only after such a run

        del manifest
        files = self._volume.environment.files
        for board in boards(files):
            keep_progress(files, board)
            remove_board(files, board)

    def _make_feed(
        self, files: Sequence[RemoteFile], sink: VolumeSink, outcome: Outcome, *, leaves: bool
    ) -> Feed | None:
        """Return what finds work for an attempt while it runs; None where all files are its own.

        An attempt that `leaves` files has not all that are missing, since its place has not.
        """
        del files, sink, outcome, leaves
        return None

    def _record_verified(self, entry: InventoryEntry, outcome: Outcome) -> None:
        self._plan.require_proof(entry.file, entry.proof)
        outcome.checksums[entry.file.path] = entry.sha256 or ""
        outcome.proofs[entry.file.path] = entry.proof
        if not entry.file.sized:
            outcome.sizes[entry.file.path] = entry.file.size
            self._meter.expect_more(entry.file.size)
        self._meter.add_reused(entry.file.size)
        self._meter.add_done_files(1)

    def _fetch_missing(self, missing: Sequence[RemoteFile], outcome: Outcome) -> None:
        """Make an attempt along each route until nothing is missing. Raises the failure that ends the last one."""
        Attempts(
            self._routes,
            self._member or self._volume,
            self._plan,
            self._verifier,
            meter=self._meter,
            watchdog=self._watchdog,
            cancellation=self._cancellation,
            ending=self._ending,
            make_feed=self._make_feed,
        ).fetch(missing, outcome)
