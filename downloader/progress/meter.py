"""`ProgressMeter`: the counters of a run. It is long because all of them share one lock."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from downloader.progress.history import Counts, History
from downloader.progress.snapshot import Phase, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from downloader.artifact import TransferProtocol
    from downloader.errors import DownloadError
    from downloader.progress.snapshot import FileProgress

RATE_WINDOW = 10.0
"""Seconds over which the rate is averaged."""
MAX_ETA = 30 * 86400.0
"""Seconds. A longer forecast only says that almost nothing arrives, and none is shown."""
MOVING = (Phase.DOWNLOADING, Phase.HASHING)
"""Phases with a rate: bytes are counted as they come. In the others whole files are added at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Wait:
    """Why no byte arrives; the times are seconds of the meter's clock."""

    reason: str
    since: float
    until: float
    """When the wait ends or its error becomes final."""


class ProgressMeter:
    """The counters of one run, for any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.changed = threading.Event()
        """Set when listeners must not wait for the next tick."""
        self.last_host = ""
        """The host of the last request of this attempt, which the watchdog names; empty before the first request."""
        self._hosts: set[str] = set()
        """Those of this attempt or listing."""
        self._files: Callable[[], tuple[FileProgress, ...]] = tuple
        self._lock = threading.Lock()
        self._skips = _Skips()
        self._state = Snapshot()
        self._written = 0
        self._discarded = 0
        self._reused = 0
        self._relisted = False
        self._received = self._received_by_helpers = 0
        self._metadata_bytes = 0
        self._metadata_responses = 0
        self._last_byte = clock()
        self._history = History(self._state.phase, self._last_byte)
        self._readers = 0
        self._network_wait = _Counted(self._count_readers)
        self._pauses: list[Wait] = []
        self._retries: list[Wait] = []
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])

    def add_received(self, count: int) -> None:
        """Count bytes of files that arrived over the network."""
        with self._lock:
            self._received += count
            self._last_byte = self.clock()

    def add_received_by_helper(self, count: int) -> None:
        """Count bytes of files that a further process of this run has received."""
        self.add_received(count)
        with self._lock:
            self._received_by_helpers += count

    def add_skipped(self, count: int) -> None:
        """Count bytes that arrived before those that this thread waits for: they have to be read, and are dropped."""
        self.add_received(count)
        self._skips.at = self.clock()

    @property
    def skipped_at(self) -> float:
        """When such bytes last arrived in this thread, on the clock of the meter; -inf if none did."""
        return self._skips.at

    def add_metadata(self, count: int) -> None:
        """Count bytes of a response that is not a file, such as a page of a listing."""
        with self._lock:
            self._metadata_bytes += count

    def add_metadata_response(self) -> None:
        """Count such a response when it is complete. However small, it shows that a listing makes progress."""
        with self._lock:
            self._metadata_responses += 1

    def add_host(self, host: str) -> None:
        """Note that a request is about to be sent to a host."""
        self.last_host = host
        if host not in self._hosts:
            with self._lock:
                self._hosts.add(host)
                self._state = replace(self._state, host=host)

    @contextlib.contextmanager
    def showing(self, files: Callable[[], tuple[FileProgress, ...]]) -> Iterator[None]:
        """Run a block whose files a snapshot shows: it calls `files`, so that their progress costs workers nothing."""
        before, self._files = self._files, files
        try:
            yield
        finally:
            self._files = before

    @property
    def has_response(self) -> bool:
        """Whether any server has answered in this run."""
        return bool(self._received or self._metadata_bytes or self._metadata_responses)

    @property
    def received_bytes(self) -> int:
        """Bytes of files that have arrived over the network so far."""
        return self._received

    @property
    def own_received_bytes(self) -> int:
        """Those of them that this process has received, and none of its further processes."""
        return self._received - self._received_by_helpers

    @property
    def metadata(self) -> tuple[int, int]:
        """The number of complete metadata responses, and the bytes of all of them, complete or not."""
        with self._lock:
            return self._metadata_responses, self._metadata_bytes

    def add_written(self, count: int) -> None:
        """Count bytes that were written to the volume; a negative count says that they were discarded."""
        with self._lock:
            self._written += count
            self._discarded -= min(0, count)

    def add_reused(self, count: int) -> None:
        """Count bytes that need not be fetched; those found after a second listing may be of this run."""
        with self._lock:
            self._written += count
            self._reused += 0 if self._relisted else count

    def add_done_files(self, count: int) -> None:
        """Count files that got their final names."""
        with self._lock:
            self._state = replace(self._state, done_files=self._state.done_files + count)

    def idle_seconds(self) -> float:
        """Return the seconds since the last byte on any connection."""
        with self._lock:
            return self.clock() - self._last_byte

    def expect(self, total_bytes: int, total_files: int) -> None:
        """Set the totals."""
        with self._lock:
            self._state = replace(self._state, total_bytes=total_bytes, total_files=total_files)

    def expect_more(self, count: int) -> None:
        """Add bytes of a file whose size was not listed to the total."""
        with self._lock:
            self._state = replace(self._state, total_bytes=self._state.total_bytes + count)

    def reset(self) -> None:
        """Forget what was written: the source has been listed again, and every file is counted once more."""
        with self._lock:
            self._written = 0
            self._relisted = True
            # Nor does what another process has shown bind this one: the work begins again.
            self._state = replace(self._state, done_bytes=0, done_files=0, succeeds=False)
            self._reset_rate()

    def share(self, *, leads: bool, processes: int = 1) -> None:
        """Say whether this process speaks for all that share the work, and how many they are."""
        with self._lock:
            self._state = replace(self._state, leads=leads, processes=processes)

    def succeed(self) -> None:
        """Speak for all from now on, in the place of a process that has done so and does not any more."""
        with self._lock:
            self._state = replace(self._state, leads=True, succeeds=True)

    def recount(self) -> None:
        """Count again what is on the volume, as its new leader. What was shown before stays until more is counted."""
        with self._lock:
            self._written = 0
            self._state = replace(self._state, done_files=0)
            self._reset_rate()

    def enter(self, phase: Phase, message: str = "") -> None:
        """Begin a phase."""
        with self._lock:
            if phase is not self._state.phase:
                self._reset_rate()
                self._hosts.clear()
                self._state = replace(self._state, host="")
            self._state = replace(self._state, phase=phase, message=message)
            self._last_byte = self.clock()
            self._history.enter(phase, self._last_byte)
        self.changed.set()

    def begin_attempt(
        self,
        protocol: TransferProtocol,
        attempt: int,
        sequence: tuple[TransferProtocol, ...],
        why: str,
        at: str = "",
    ) -> None:
        """Begin an attempt, whose idle time and rate start at zero."""
        with self._lock:
            self._reset_rate()
            self._hosts.clear()
            state = replace(self._state, host="", place=at, phase=Phase.DOWNLOADING, message=why)
            self._state = replace(state, protocol=protocol, attempt=attempt, sequence=sequence)
            self._last_byte = self.clock()
            self.last_host = ""
            self._history.enter(Phase.DOWNLOADING, self._last_byte)
            self._history.begin_attempt(protocol, attempt, at, self._counts(self._last_byte))
        self.changed.set()

    def end_attempt(self, error: DownloadError | None, files_left: int) -> None:
        """End the attempt; without an `error` it is complete."""
        with self._lock:
            self._history.end_attempt(error, files_left, self._counts(self.clock()))

    def _counts(self, now: float) -> Counts:
        return Counts(now, self._received, self._discarded)

    def waiting_for_network(self) -> AbstractContextManager[None]:
        """Run a block that waits for the network. Outside of all such blocks the run is busy and cannot stall."""
        return self._network_wait

    def _count_readers(self, count: int) -> None:
        with self._lock:
            self._readers += count

    @contextlib.contextmanager
    def paused(self, reason: str, seconds: float) -> Iterator[None]:
        """Run a block that waits `seconds` for the stated reason. The stall clock does not run meanwhile."""
        pause = Wait(reason, self.clock(), self.clock() + seconds)
        with self._lock:
            self._pauses.append(pause)
        self.changed.set()
        try:
            yield
        finally:
            with self._lock:
                self._pauses.remove(pause)
                self._last_byte = self.clock()
            self.changed.set()

    def begin_retry(self, wait: Wait) -> None:
        """Show an error that is being retried, until `end_retry` or until a byte arrives on any connection."""
        with self._lock:
            self._retries.append(wait)

    def end_retry(self, wait: Wait) -> None:
        """Withdraw it: the retry succeeded or was given up."""
        with self._lock:
            self._retries.remove(wait)

    @property
    def stall_clock_running(self) -> bool:
        """Whether idle time is the network's fault: a thread waits for it, and no server asked for a pause."""
        with self._lock:
            networking = self._state.phase in (Phase.LISTING, Phase.DOWNLOADING)
            return networking and self._readers > 0 and not self._pauses

    def snapshot(self, stuck_volume: str = "") -> Snapshot:
        """Return the state of the run. `done_bytes` never falls, not even when a damaged file is discarded."""
        files = self._files()  # before the lock: it takes locks of its own
        with self._lock:
            now = self.clock()
            state = self._state
            written = min(self._written, state.total_bytes)
            done = max(state.done_bytes, written)
            self._state = state = replace(state, done_bytes=done)
            rate = self._rate(now) if state.phase in MOVING else 0.0
            left = (state.total_bytes - written) / rate if rate >= 1 else None
            wait = self._wait()
            return replace(
                state,
                received_bytes=self._received,
                discarded_bytes=self._discarded,
                reused_bytes=self._reused,
                attempts=self._history.attempts(self._counts(now)),
                phases=self._history.phases(now),
                rate=rate if rate >= 1 else 0.0,
                eta=left if left is not None and left < MAX_ETA else None,
                waiting=wait.reason if wait else "",
                wait_left=max(0.0, wait.until - now) if wait else None,
                stuck_volume=stuck_volume,
                responses=self._metadata_responses,
                files=files,
            )

    def _wait(self) -> Wait | None:
        if self._pauses:
            return self._pauses[-1]
        # A byte on another connection shows that the server works: an older error is not worth showing any more.
        unresolved = (wait for wait in self._retries if wait.since >= self._last_byte)
        return min(unresolved, key=lambda wait: wait.since, default=None)

    def _reset_rate(self) -> None:
        self._samples.clear()
        self._samples.append((self.clock(), self._written))

    def _rate(self, now: float) -> float:
        samples = self._samples
        if now - samples[-1][0] >= RATE_WINDOW / 20:
            samples.append((now, self._written))
        while len(samples) > 1 and now - samples[1][0] >= RATE_WINDOW:
            samples.popleft()
        since, before = samples[0]
        return max(0.0, (self._written - before) / (now - since)) if now > since else 0.0


class _Skips(threading.local):
    """What each thread has had to read and drop."""

    at = float("-inf")


class _Counted:
    """Counts the threads inside a block. Made once for all of them, since a generator for each would cost more."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count

    def __enter__(self) -> None:
        self._count(1)

    def __exit__(self, *_: object) -> None:
        self._count(-1)
