"""Verifies completed files of an attempt and commits them to the volume."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm
from downloader.condition import Condition
from downloader.deadlines import CHECK_INTERVAL
from downloader.errors import (
    DownloadError,
    IntegrityError,
    InternalError,
    ProtocolDown,
    SourceChanged,
    Stalled,
    UnexpectedContent,
    Verdict,
)
from downloader.events import FileCommitted
from downloader.integrity import UNVERIFIED, contradiction
from downloader.volume import VerifiedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.artifact import RemoteFile
    from downloader.cancellation import Cancellation
    from downloader.engine.places import Route
    from downloader.engine.plan import Outcome, Plan
    from downloader.integrity import Verifier
    from downloader.progress import ProgressMeter
    from downloader.shards import Member
    from downloader.transfer import CompletedFile
    from downloader.volume import Partial, Volume

MAX_LOGGED = 5
"""Failed files of an attempt that are logged one by one: thousands of them mostly have one reason."""
LARGE = 1 << 20
"""Bytes of a file that takes longer than many short answers."""

log = logging.getLogger(__name__)


class VolumeSink:
    """Verifies and commits the files of one attempt. Thread-safe."""

    def __init__(
        self,
        volume: Volume | Member,
        meter: ProgressMeter,
        attempt: Cancellation,
        *,
        plan: Plan,
        outcome: Outcome,
        verifier: Verifier,
        route: Route,
    ) -> None:
        self.failures: dict[str, DownloadError] = {}
        self._volume = volume
        self._meter = meter
        self._attempt = attempt
        self._plan = plan
        self._outcome = outcome
        self._verifier = verifier
        self.route = route
        """Along which the attempt goes."""
        self._lock = threading.Lock()
        self._entered = _Entered()
        self._begun: dict[str, Partial] = {}
        self._resumed: set[str] = set()
        """Files of which an earlier attempt or run had left bytes."""
        self._fresh: set[str] = set()
        """Files of which every byte is from the origin and from this attempt."""
        self._refused: set[str] = set()
        """Files that the early check will not have: the next run has to look at their first bytes again."""

    def close(self, check: Callable[[], None]) -> None:
        """Reject further commits, wait for running ones, and close incomplete partials; they stay for the next attempt.

        A thread that hangs in the volume may outlast its attempt. It must not begin or name a file that the next
        attempt has begun again: that would be half of it. `check` raises to end the wait.
        """
        try:
            self._entered.close(check)
        finally:
            for path, partial in list(self._begun.items()):
                with suppress(DownloadError):
                    partial.discard() if path in self._refused else partial.close()

    def begin(self, file: RemoteFile) -> Partial:
        """Open the file's partial."""
        with self._entered:
            partial = self._volume.partial(file)
            with self._lock:
                self._begun[file.path] = partial
            if self.route.place.is_mirror or self._plan.early:
                self._note_origin(file, partial)
            return partial

    def _note_origin(self, file: RemoteFile, partial: Partial) -> None:
        """Note whether all bytes of a file will be from this attempt, and from the origin."""
        untouched = partial.missing() == [file.span]
        with self._lock:
            if self.route.place.is_mirror and not untouched:
                self._resumed.add(file.path)
            if self._plan.early and not self.route.place.is_mirror and untouched:
                self._fresh.add(file.path)

    def inspect(self, file: RemoteFile, head: bytes, hashed: int) -> int:
        """Reject a file by its first bytes, before hundreds of gigabytes follow.

        A file with a digest is not rejected for what it is: if the digest is wrong, the bytes are damaged, and another
        download may deliver the right ones.
        """
        if not file.digests:
            self._plan.content.require(file.path, file.size, head, verified=False)
        return self._look(file, head, hashed) if self._plan.early is not None else 0

    def _look(self, file: RemoteFile, head: bytes, hashed: int) -> int:
        """Pass a file to the early check, unless some of its bytes are from a mirror or an earlier run."""
        with self._lock:
            partial = self._begun.get(file.path) if file.path in self._fresh else None
        if self._plan.early is None or partial is None or partial.in_order:
            return 0
        opened = partial

        def read(offset: int, count: int) -> bytes:
            content = bytearray(min(count, hashed - offset))
            view, filled = memoryview(content), 0
            while filled < len(content) and (more := opened.readinto(offset + filled, view[filled:])):
                filled += more
            return bytes(view[:filled])

        try:
            return self._plan.early.look(file, head, hashed, read)
        except IntegrityError:
            with self._lock:
                self._refused.add(file.path)
            raise

    def commit(self, completed_files: Sequence[CompletedFile]) -> Mapping[str, IntegrityError]:
        """Verify files and commit the right ones to the volume; return the errors of the rejected ones by path.

        Rejected partials are discarded, or set aside if the plan says so. Raises UnexpectedContent, which ends the run,
        after the others have been committed.
        """
        with self._entered:
            verified, rejected = self._verify(completed_files)
            self._volume.commit(verified)
            self._record(verified)
            with self._lock:
                for completed_file in completed_files:
                    self._begun.pop(completed_file.partial.file.path, None)
        for error in rejected.values():
            if isinstance(error, UnexpectedContent):
                raise error
        return rejected

    def receive(self, verified: Sequence[VerifiedFile]) -> None:
        """Commit files that other processes have fetched and verified."""
        with self._entered:
            self._volume.commit(verified)
            self._record(verified)

    def _verify(self, completed_files: Sequence[CompletedFile]) -> tuple[list[VerifiedFile], dict[str, IntegrityError]]:
        """Return the files whose bytes are right, and the errors of the others by path."""
        verified: list[VerifiedFile] = []
        rejected: dict[str, IntegrityError] = {}
        for completed_file in completed_files:
            partial = completed_file.partial
            try:
                proof = self._prove(completed_file)
            except IntegrityError as error:
                rejected[partial.file.path] = error
                self._meter.add_written(-partial.file.size)
                if self._plan.keep_corrupt:
                    partial.set_aside()
                else:
                    partial.discard()
            else:
                sha256 = completed_file.results[Algorithm.SHA256]
                verified.append(VerifiedFile(partial, sha256, proof, self.route.place.name))
        return verified, rejected

    def _record(self, committed: Sequence[VerifiedFile]) -> None:
        """Add committed files to the outcome and to the progress."""
        self.route.place.served()
        with self._lock:
            for partial, sha256, proof, place in committed:
                file = partial.file
                self._outcome.checksums[file.path] = sha256
                self._outcome.proofs[file.path] = proof
                self._outcome.fetched.add(file.path)
                if place:
                    self._outcome.places[file.path] = place
                if not file.sized:
                    self._outcome.sizes[file.path] = file.size
                    self._meter.expect_more(file.size)
        self._meter.add_done_files(len(committed))
        if log.isEnabledFor(logging.DEBUG):
            for partial, sha256, proof, place in committed:
                file = partial.file
                event = FileCommitted(path=file.path, size=file.size, sha256=sha256, verified_by=proof, place=place)
                log.debug("%s is verified (%s) and has its name", file.path, proof, extra=event.extra())

    def _prove(self, completed_file: CompletedFile) -> str:
        """Return what was published of a file's bytes. Raises IntegrityError if they are not what it promises."""
        file = completed_file.partial.file
        try:
            proof = self._verifier.proof(file, completed_file.results)
        except IntegrityError as error:
            found = contradiction(file.path, file.size, completed_file.head, vouched=False)
            if not found:
                raise
            raise IntegrityError(f"{error.message}; what came {found}", hint=error.hint) from error
        self._plan.require_proof(file, proof)
        self._plan.content.require(file.path, file.size, completed_file.head, verified=proof not in UNVERIFIED)
        return proof

    def fail(self, file: RemoteFile, error: DownloadError) -> None:
        """Leave the file to the next attempt; end this one if the error concerns all files."""
        with self._lock:
            self.failures[file.path] = error
            failed = len(self.failures)
            self._begun.pop(file.path, None)
        log.log(logging.INFO if failed <= MAX_LOGGED else logging.DEBUG, "not fetched: %s", error)
        if failed == MAX_LOGGED:
            log.info("further failed files are logged with --log-level debug")
        # Where no file has received a byte for that long, the other files would fail in the same way, one by one.
        no_bytes = self._meter.idle_seconds() >= self.route.last_retry
        source_is_down = no_bytes and (error.verdict is Verdict.RETRY or isinstance(error, Stalled))
        changed = isinstance(error, SourceChanged) and not self.route.place.is_mirror
        if source_is_down or changed or isinstance(error, ProtocolDown):
            self._attempt.cancel(error)
        elif (useless := self._blame(file, error)) is not None:
            self._attempt.cancel(useless)

    def _blame(self, file: RemoteFile, error: DownloadError) -> DownloadError | None:
        """Hold an error against the place, unless bytes of another one may be the reason."""
        with self._lock:
            is_mixed = isinstance(error, IntegrityError) and file.path in self._resumed
            if any(partial.file.size > LARGE for partial in self._begun.values()):
                self.route.place.served()  # or will, very likely: to end the attempt now would break that off
        return None if is_mixed else self.route.place.blame(file.path, error)


class _Entered:
    """The block that a thread is in while it changes the volume. Made once for all threads and files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = Condition(self._lock)
        self._inside = 0
        self._closed = False

    def __enter__(self) -> None:
        with self._lock:
            if self._closed:
                raise InternalError("an attempt went on after its end")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            self._changed.notify_all()

    def close(self, check: Callable[[], None]) -> None:
        """Let no thread in any more, and wait until all are out. `check` raises to end the wait."""
        with self._lock:
            self._closed = True
            while self._inside:
                self._changed.wait(CHECK_INTERVAL)
                check()
