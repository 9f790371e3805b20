"""Runs the plan: lists, takes stock of the volume, and makes an attempt with each protocol at what is missing."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from downloader.cancellation import Cancellation
from downloader.cgroups import processors
from downloader.engine.existing_files import make_room, settle_existing
from downloader.engine.finalizer import PublishAsDownloaded
from downloader.engine.plan import Outcome, Plan
from downloader.engine.sink import VolumeSink
from downloader.errors import Category, DownloadError, SourceChanged, SourceNotFound, Verdict, VolumeError
from downloader.formatting import format_size
from downloader.integrity import SIZE_ONLY, Verifier
from downloader.progress import Phase
from downloader.volume import FileState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from downloader.artifact import Manifest, RemoteFile, TransferProtocol
    from downloader.engine.finalizer import Finalizer
    from downloader.progress import ProgressMeter, StallWatchdog
    from downloader.sources import Source
    from downloader.transfer import Transport
    from downloader.volume import InventoryEntry, Volume

T = TypeVar("T")
MAX_RELISTINGS = 2
"""How often a source may change under us before that is the user's problem."""
MOST_HASHED_AT_ONCE = 8
"""Files on the volume: more than that, and a disk that turns has to look for each."""

log = logging.getLogger(__name__)


def gravest(failures: Mapping[str, DownloadError]) -> DownloadError:
    """Return the failure that ends an attempt, whichever of its files failed first: every pod must say the same."""
    categories = list(Category)
    path = min(
        failures, key=lambda path: (-categories.index(failures[path].category), failures[path].exit_status, path)
    )
    return failures[path]


class Engine:
    """One run over one volume, which is leased once it turns out that something must be written."""

    def __init__(
        self,
        source: Source,
        volume: Volume,
        transports: Callable[[TransferProtocol, Cancellation], Transport],
        plan: Plan,
        *,
        meter: ProgressMeter,
        watchdog: StallWatchdog,
        cancellation: Cancellation,
        lease: Callable[[], AbstractContextManager[None]],
        finalizer: Finalizer | None = None,
    ) -> None:
        """`lease` acquires the volume's lease; `finalizer` works on the verified files before they are published."""
        self._source = source
        self._volume = volume
        self._transports = transports
        self._plan = plan
        self._meter = meter
        self._watchdog = watchdog
        self._cancellation = cancellation
        self._lease = lease
        self._finalizer: Finalizer = finalizer or PublishAsDownloaded()
        self._judge = Verifier()

    def run(self) -> Outcome:
        """Bring the artifact home. Raises one of our errors; the volume can be resumed whatever happens."""
        # While there is nothing to write, nobody has to wait for the lease, and a read-only volume will do.
        outcome = self._unchanged()
        if outcome is None:
            manifest = self._list()
            outcome = self._published(manifest)
        if outcome is not None:
            self._volume.tidy()
            return self._end(outcome)
        with self._lease():
            for relistings_left in range(MAX_RELISTINGS, -1, -1):
                try:
                    return self._end(self._bring(manifest))
                except (SourceChanged, SourceNotFound) as error:
                    # What was listed and is gone may be gone from the next listing, too.
                    if not relistings_left:
                        raise
                    log.warning("%s; listing it again", error.message)
                    self._meter.reset()
                    manifest = self._list()
                except VolumeError:
                    # One that was taken over while this process slept fails in many ways: say what really happened.
                    self._volume.check_lease()
                    raise
        raise AssertionError("unreachable")

    def _unchanged(self) -> Outcome | None:
        """Return the finished artifact if its source still has that version; None if only a listing can tell.

        The volume is looked at last: while the source is asked, somebody else may begin to change it.
        """
        version = self._plan.selection.version_of(self._ask(self._source.version))
        completed = self._volume.completed() if version else None
        if (
            version is None
            or completed is None
            or not completed.fits(version)
            or not self._finalizer.is_final(completed)
        ):
            return None
        manifest, proofs = completed.manifest, completed.proofs
        if not all(self._plan.is_proved(proofs[file.path]) for file in manifest.files):
            return None
        self._meter.expect(manifest.size, len(manifest.files))
        self._meter.add_written(manifest.size)
        self._meter.add_done_files(len(manifest.files))
        return Outcome(manifest, completed.digests, proofs)

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask the source something about the artifact as a whole."""
        self._meter.enter(Phase.LISTING)
        self._watchdog.guard(self._cancellation)
        try:
            with self._meter.waiting_for_network():
                answer = question()
        finally:
            self._watchdog.guard(None)
        self._cancellation.check()
        return answer

    def _list(self) -> Manifest:
        manifest = self._plan.selection.of(self._ask(self._source.manifest))
        for file in manifest.files:
            if not file.digests:
                self._plan.demand_proof(file, SIZE_ONLY)
        self._meter.expect(manifest.size, len(manifest.files))
        return manifest

    def _published(self, manifest: Manifest) -> Outcome | None:
        """Return what is finished here; None if something is lacking."""
        inventory = self._finalizer.inventory(self._volume, manifest)
        proved = inventory.having(FileState.VERIFIED)
        if not inventory.published or not all(self._plan.is_proved(entry.proof) for entry in proved):
            return None
        outcome = Outcome(manifest)
        for entry in proved:
            self._keep(entry, outcome)
        outcome.complete()
        return outcome

    def _bring(self, manifest: Manifest) -> Outcome:
        """Make one listing true."""
        outcome, missing = self._take_stock(manifest)
        if missing:
            self._fetch(missing, outcome)
        self._meter.enter(Phase.VERIFYING)
        outcome.complete()
        publication = self._finalizer.finalize(
            self._volume, outcome.manifest, outcome.checksums, self._cancellation.check
        )
        self._volume.publish(*publication)
        return outcome

    def _end(self, outcome: Outcome) -> Outcome:
        self._meter.enter(Phase.DONE)
        return outcome

    def _take_stock(self, manifest: Manifest) -> tuple[Outcome, list[RemoteFile]]:
        """Prove what is on the volume, and check that the rest has room; return both."""
        inventory = self._finalizer.inventory(self._volume, manifest)
        if inventory.stale_files:
            log.info("reclaimed %s of leftovers", format_size(self._volume.reclaim(inventory)))
        outcome = Outcome(manifest)
        unproved = inventory.having(FileState.UNVERIFIED)
        for entry in inventory.having(FileState.VERIFIED):
            if self._plan.is_proved(entry.proof):
                self._keep(entry, outcome)
            else:  # by an earlier run, of which nobody knows what it asked for
                unproved.append(entry)
        if unproved:
            self._meter.enter(Phase.CHECKING, f"checking {len(unproved)} files that are on the volume already")
        missing = inventory.having(FileState.PARTIAL, FileState.MISSING)
        needed = inventory.needed_bytes
        for entry, proved in zip(unproved, self._check(unproved), strict=True):
            if proved is None:
                missing.append(entry)
                needed += entry.file.size
            else:
                self._keep(proved, outcome)
        settle_existing(self._volume, manifest, inventory, missing, self._plan)
        self._meter.add_written(sum(entry.done_bytes for entry in missing if entry.state is FileState.PARTIAL))
        if missing:
            self._volume.require_names(manifest)
            make_room(self._volume, inventory, missing, needed, self._plan)
        return outcome, [entry.file for entry in missing]

    def _check(self, unproved: Sequence[InventoryEntry]) -> Iterator[InventoryEntry | None]:
        """Hash what is on the volume, several files at once: after a kill that may be most of the artifact."""

        def check(entry: InventoryEntry) -> InventoryEntry | None:
            return self._volume.check(entry, lambda _: self._cancellation.check(), self._plan.content)

        with ThreadPoolExecutor(min(processors(), MOST_HASHED_AT_ONCE), thread_name_prefix="check") as pool:
            yield from pool.map(check, unproved)

    def _keep(self, entry: InventoryEntry, outcome: Outcome) -> None:
        self._plan.demand_proof(entry.file, entry.proof)
        outcome.checksums[entry.file.path] = entry.sha256 or ""
        outcome.proofs[entry.file.path] = entry.proof
        if not entry.file.sized:
            outcome.sizes[entry.file.path] = entry.file.size
            self._meter.expect_more(entry.file.size)
        self._meter.add_written(entry.file.size)
        self._meter.add_done_files(1)

    def _fetch(self, missing: list[RemoteFile], outcome: Outcome) -> None:
        """Make the attempts. Raises what ended the last one if anything is still missing."""
        sequence = self._plan.sequence
        why = ""
        for number, protocol in enumerate(sequence, start=1):
            self._meter.begin_attempt(protocol, number, sequence, why)
            log.info("attempt %d of %d: %s, %d files missing", number, len(sequence), protocol, len(missing))
            failures = self._attempt(protocol, missing, outcome)
            missing = [file for file in missing if file.path not in outcome.checksums]
            if not missing:
                return
            error = gravest(failures)
            if number == len(sequence):
                raise error
            why = f"{protocol} left {len(missing)} files: {error.message}; switching to {sequence[number]}"
            log.warning("%s", why)

    def _attempt(
        self, protocol: TransferProtocol, files: Sequence[RemoteFile], outcome: Outcome
    ) -> dict[str, DownloadError]:
        """Make one pass of one protocol over what is missing; return why files are still missing."""
        attempt = Cancellation(self._cancellation)
        sink = VolumeSink(self._volume, self._meter, attempt, plan=self._plan, outcome=outcome, judge=self._judge)
        self._watchdog.guard(attempt)
        try:
            self._transports(protocol, attempt).fetch(files, sink)
        except DownloadError as error:
            self._cancellation.check()
            if error.verdict is Verdict.FAIL or isinstance(error, SourceChanged):
                raise
            sink.failures.setdefault("", error)
        finally:
            self._watchdog.guard(None)
            attempt.close()
            sink.close(self._cancellation.check)
        return sink.failures
