"""Runs the plan: lists, takes stock of the volume, and makes an attempt with each protocol at what is missing."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from downloader.artifact import Algorithm, Phase
from downloader.cancellation import Cancellation
from downloader.errors import (
    DownloadError,
    IntegrityError,
    InternalError,
    ProtocolDown,
    SourceChanged,
    Stalled,
    Verdict,
    VolumeError,
)
from downloader.integrity import SIZE_ONLY, UNKNOWN, UNVERIFIABLE, Judge
from downloader.volume import State
from downloader.words import bytes_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from downloader.artifact import Manifest, Protocol, RemoteFile
    from downloader.meter import Meter, Watchdog
    from downloader.selection import Selection
    from downloader.sources import Source
    from downloader.transports import Arrival, Transport
    from downloader.volume import Holding, Partial, Survey, Volume

T = TypeVar("T")
MAX_RELISTINGS = 2
"""How often a source may change under us before that is the user's problem."""
WAKE_UP = 0.2
"""Seconds between two looks for a cancellation."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is asked to do."""

    selection: Selection
    sequence: tuple[Protocol, ...]
    silence: float
    """Seconds without a byte from anybody after which one file's passing trouble ends the whole attempt."""
    require_digest: bool = False
    keep_corrupt: bool = False
    """Keep what failed its verification under `.downloading/` until the artifact is complete."""

    def demand_proof(self, file: RemoteFile, proof: str) -> None:
        """Raise IntegrityError if a digest is required and none proves the file. An empty one is proved by its size."""
        if self.require_digest and file.size and proof in (SIZE_ONLY, UNVERIFIABLE):
            hint = "the source publishes none that can be checked; without --require-digest the size would do"
            raise IntegrityError(f"{file.path} is not proved by a digest ({proof})", hint=hint)

    def is_proved(self, file: RemoteFile, proof: str) -> bool:
        """Tell whether a proof that is on record is all that `demand_proof` could ask for."""
        return not (self.require_digest and file.size and proof in (SIZE_ONLY, UNVERIFIABLE, UNKNOWN))


@dataclass(slots=True)
class Outcome:
    """What a run has achieved."""

    manifest: Manifest
    checksums: dict[str, str] = field(default_factory=dict)
    """Path → sha256 of everything that has its final name."""
    proofs: dict[str, str] = field(default_factory=dict)
    """Path → what proves it: an algorithm, `size only`, `etag unverifiable`, or `unknown` where nobody has kept it."""


class Engine:
    """One run over one volume, which is leased once it turns out that something must be written."""

    def __init__(
        self,
        source: Source,
        volume: Volume,
        transports: Callable[[Protocol, Cancellation], Transport],
        plan: Plan,
        *,
        meter: Meter,
        watchdog: Watchdog,
        cancellation: Cancellation,
        lease: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._source = source
        self._volume = volume
        self._transports = transports
        self._plan = plan
        self._meter = meter
        self._watchdog = watchdog
        self._cancellation = cancellation
        self._lease = lease
        self._judge = Judge()

    def run(self) -> Outcome:
        """Bring the artifact home. Raises one of our errors; the volume can be resumed whatever happens."""
        # While there is nothing to write, nobody has to wait for the lease, and a read-only volume will do.
        outcome = self._unchanged()
        if outcome is not None:
            self._volume.tidy()
            return self._end(outcome)
        manifest = self._list()
        survey = self._volume.survey(manifest)
        if survey.published:
            self._volume.tidy()
            return self._end(self._proved(manifest, survey))
        with self._lease():
            for relistings_left in range(MAX_RELISTINGS, -1, -1):
                try:
                    return self._end(self._bring(manifest))
                except SourceChanged as error:
                    if not relistings_left:
                        raise
                    log.warning("%s; listing it again", error.message)
                    self._meter.restart()
                    manifest = self._list()
                except VolumeError:
                    # One that was taken over while this process slept fails in many ways: say what really happened.
                    self._volume.check_lease()
                    raise
        raise AssertionError("unreachable")

    def _unchanged(self) -> Outcome | None:
        """Return what is finished here if its source has the very same; None if only a listing and a survey can tell.

        The volume is looked at last: while the source is asked, somebody else may begin to change it.
        """
        version = self._plan.selection.version_of(self._ask(self._source.version))
        sealed = self._volume.sealed() if version else None
        if version is None or sealed is None or not sealed.fits(version):
            return None
        manifest, proofs = sealed.manifest, sealed.proofs
        if not all(self._plan.is_proved(file, proofs[file.path]) for file in manifest.files):
            return None
        self._meter.expect(manifest.size, len(manifest.files))
        self._meter.landed(manifest.size)
        self._meter.files_done(len(manifest.files))
        return Outcome(manifest, dict(sealed.checksums.files), proofs)

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

    def _bring(self, manifest: Manifest) -> Outcome:
        """Make one listing true."""
        survey = self._volume.survey(manifest)
        if survey.leftovers:
            log.info("reclaimed %s of leftovers", bytes_text(self._volume.reclaim(survey)))
        outcome = self._proved(manifest, survey)
        missing = self._take_stock(survey, outcome)
        if missing:
            self._fetch(missing, outcome)
        self._meter.enter(Phase.VERIFYING)
        self._volume.publish(manifest, outcome.checksums)
        return outcome

    def _end(self, outcome: Outcome) -> Outcome:
        self._meter.enter(Phase.DONE)
        return outcome

    def _proved(self, manifest: Manifest, survey: Survey) -> Outcome:
        outcome = Outcome(manifest)
        for holding in survey.having(State.PROVED):
            self._keep(holding, outcome)
        return outcome

    def _take_stock(self, survey: Survey, outcome: Outcome) -> list[RemoteFile]:
        """Prove what is on the volume without proof, and check that the rest has room; return the rest."""
        unproved = survey.having(State.UNPROVED)
        if unproved:
            self._meter.enter(Phase.CHECKING, f"checking {len(unproved)} files that are on the volume already")
        missing = survey.having(State.PARTIAL, State.MISSING)
        needed = survey.needed_bytes
        for holding in unproved:
            proved = self._volume.check(holding, lambda _: self._cancellation.check())
            if proved is None:
                missing.append(holding)
                needed += holding.file.size
            else:
                self._keep(proved, outcome)
        self._meter.landed(sum(holding.done_bytes for holding in missing if holding.state is State.PARTIAL))
        if missing:
            self._volume.require_space(needed, len(missing))
        return [holding.file for holding in missing]

    def _keep(self, holding: Holding, outcome: Outcome) -> None:
        self._plan.demand_proof(holding.file, holding.proof)
        outcome.checksums[holding.file.path] = holding.sha256 or ""
        outcome.proofs[holding.file.path] = holding.proof
        self._meter.landed(holding.file.size)
        self._meter.files_done(1)

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
            error = next(iter(failures.values()))
            if number == len(sequence):
                raise error
            why = f"{protocol} left {len(missing)} files: {error.message}; switching to {sequence[number]}"
            log.warning("%s", why)

    def _attempt(self, protocol: Protocol, files: Sequence[RemoteFile], outcome: Outcome) -> dict[str, DownloadError]:
        """Make one pass of one protocol over what is missing; return why files are still missing."""
        attempt = Cancellation(self._cancellation)
        landing = _Landing(self._volume, self._meter, attempt, plan=self._plan, outcome=outcome, judge=self._judge)
        self._watchdog.guard(attempt)
        try:
            self._transports(protocol, attempt).fetch(files, landing)
        except DownloadError as error:
            self._cancellation.check()
            if error.verdict is Verdict.STOP or isinstance(error, SourceChanged):
                raise
            landing.failures.setdefault("", error)
        finally:
            self._watchdog.guard(None)
            attempt.close()
            landing.close(self._cancellation.check)
        return landing.failures


class _Landing:
    """Where a transport's files end: judged, and given their final name. Good for one attempt."""

    def __init__(
        self, volume: Volume, meter: Meter, attempt: Cancellation, *, plan: Plan, outcome: Outcome, judge: Judge
    ) -> None:
        self.failures: dict[str, DownloadError] = {}
        self._volume = volume
        self._meter = meter
        self._attempt = attempt
        self._plan = plan
        self._outcome = outcome
        self._judge = judge
        self._lock = threading.Condition()
        self._begun: dict[str, Partial] = {}
        self._inside = 0
        self._closed = False

    @contextmanager
    def _entered(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise InternalError("an attempt went on after its end")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                self._lock.notify_all()

    def close(self, check: Callable[[], None]) -> None:
        """Let nobody in any more, wait for those inside, and close what was left half-way; it stays for the next one.

        A thread that hangs in the volume may outlast its attempt. It must not begin or name a file that the next
        attempt has begun anew: that would be half of it. `check` raises to end the wait.
        """
        try:
            with self._lock:
                self._closed = True
                while self._inside:
                    self._lock.wait(WAKE_UP)
                    check()
        finally:
            for partial in list(self._begun.values()):
                with suppress(DownloadError):
                    partial.close()

    def begin(self, file: RemoteFile) -> Partial:
        with self._entered():
            partial = self._volume.partial(file)
            with self._lock:
                self._begun[file.path] = partial
            return partial

    def deliver(self, arrivals: Sequence[Arrival]) -> Mapping[str, IntegrityError]:
        with self._entered():
            refused = self._deliver(arrivals)
            with self._lock:
                for partial, _ in arrivals:
                    self._begun.pop(partial.file.path, None)
            return refused

    def _deliver(self, arrivals: Sequence[Arrival]) -> Mapping[str, IntegrityError]:
        proved: list[tuple[Partial, str, str]] = []
        refused: dict[str, IntegrityError] = {}
        for partial, results in arrivals:
            file = partial.file
            try:
                proof = self._judge.proof(file, results)
                self._plan.demand_proof(file, proof)
            except IntegrityError as error:
                refused[file.path] = error
                self._meter.landed(-file.size)
                if self._plan.keep_corrupt:
                    partial.set_aside()
                else:
                    partial.discard()
            else:
                proved.append((partial, results[Algorithm.SHA256], proof))
        self._volume.commit_many(proved)
        with self._lock:
            self._outcome.checksums.update((partial.file.path, sha256) for partial, sha256, _ in proved)
            self._outcome.proofs.update((partial.file.path, proof) for partial, _, proof in proved)
        self._meter.files_done(len(proved))
        return refused

    def fail(self, file: RemoteFile, error: DownloadError) -> None:
        log.info("left to the next attempt: %s", error)
        with self._lock:
            self.failures[file.path] = error
            self._begun.pop(file.path, None)
        dead = (
            error.verdict is Verdict.AGAIN or isinstance(error, Stalled)
        ) and self._meter.silence() >= self._plan.silence
        if dead or isinstance(error, SourceChanged | ProtocolDown):
            self._attempt.cancel(error)
