"""Workers count, watchers look: the counters of a run, its snapshots, its clock, and the watchdog over it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from downloader.artifact import Phase, Snapshot, TransferProtocol
from downloader.errors import Stalled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from downloader.cancellation import Cancellation

RATE_WINDOW = 10.0
FLOOR_RATE = 1024
"""Bytes per second below which a trickle is no movement."""

LONGEST_ETA = 30 * 86400.0
"""Seconds: more than that is no forecast, but a trickle."""
MOVING = (Phase.DOWNLOADING, Phase.HASHING)
"""The phases in which bytes are counted one after the other, so that there is a rate."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Wait:
    """Something that is waited for; the times are seconds of the meter's clock."""

    reason: str
    since: float
    until: float
    """When it is over, or is given up."""


class ProgressMeter:
    """Counts for one run. Workers add, everybody else takes snapshots."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.changed = threading.Event()
        """Set when something happened that watchers must see at once."""
        self.asked = ""
        """The host that was asked last; empty until an attempt has asked anybody."""
        self._lock = threading.Lock()
        self._state = Snapshot()
        self._landed = 0
        self._discarded = 0
        self._received = 0
        self._heard = 0
        self._answers = 0
        self._last_byte = clock()
        self._readers = 0
        self._network = _Counted(self._count_readers)
        self._rests: list[Wait] = []
        self._troubles: list[Wait] = []
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])

    def received(self, count: int) -> None:
        """Count bytes that came over the network."""
        with self._lock:
            self._received += count
            self._last_byte = self.clock()

    def heard(self, count: int) -> None:
        """Count bytes of a small answer, such as a page of a listing."""
        with self._lock:
            self._heard += count

    def answered(self) -> None:
        """Count a small answer that came whole: however little it was, whoever asks is getting on."""
        with self._lock:
            self._answers += 1

    @property
    def has_heard(self) -> bool:
        """Somebody has answered in this run."""
        return bool(self._received or self._heard or self._answers)

    @property
    def received_bytes(self) -> int:
        """Bytes that came over the network so far."""
        return self._received

    @property
    def answers(self) -> tuple[int, int]:
        """Small answers that came whole, and bytes of all of them, whole or not."""
        with self._lock:
            return self._answers, self._heard

    def landed(self, count: int) -> None:
        """Count bytes that are on the volume; a negative count takes discarded ones back."""
        with self._lock:
            self._landed += count
            self._discarded -= min(0, count)

    def files_done(self, count: int) -> None:
        """Count files that got their final names."""
        with self._lock:
            self._state = replace(self._state, done_files=self._state.done_files + count)

    def silence(self) -> float:
        """Return the seconds since the last byte of anybody."""
        with self._lock:
            return self.clock() - self._last_byte

    def expect(self, total_bytes: int, total_files: int) -> None:
        """Set the totals."""
        with self._lock:
            self._state = replace(self._state, total_bytes=total_bytes, total_files=total_files)

    def expect_more(self, count: int) -> None:
        """Add to the total what nobody had told before it came."""
        with self._lock:
            self._state = replace(self._state, total_bytes=self._state.total_bytes + count)

    def restart(self) -> None:
        """Forget what had landed: the source has been listed again."""
        with self._lock:
            self._landed = 0
            self._state = replace(self._state, done_bytes=0, done_files=0)
            self._forget_pace()

    def enter(self, phase: Phase, message: str = "") -> None:
        """Begin a phase."""
        with self._lock:
            if phase is not self._state.phase:
                self._forget_pace()
            self._state = replace(self._state, phase=phase, message=message)
            self._last_byte = self.clock()
        self.changed.set()

    def begin_attempt(
        self, protocol: TransferProtocol, attempt: int, sequence: tuple[TransferProtocol, ...], message: str
    ) -> None:
        """Begin an attempt: the watchdog's clock starts anew, and so does the rate."""
        with self._lock:
            self._forget_pace()
            self._state = replace(
                self._state,
                phase=Phase.DOWNLOADING,
                protocol=protocol,
                attempt=attempt,
                sequence=sequence,
                message=message,
            )
            self._last_byte = self.clock()
            self.asked = ""
        self.changed.set()

    def waiting_for_network(self) -> AbstractContextManager[None]:
        """While at least one such block runs, silence is suspicious; else the run is busy with its own things."""
        return self._network

    def _count_readers(self, count: int) -> None:
        with self._lock:
            self._readers += count

    @contextlib.contextmanager
    def resting(self, reason: str, seconds: float) -> Iterator[None]:
        """Wait so many seconds for a stated reason: silence is no stall meanwhile."""
        rest = Wait(reason, self.clock(), self.clock() + seconds)
        with self._lock:
            self._rests.append(rest)
        self.changed.set()
        try:
            yield
        finally:
            with self._lock:
                self._rests.remove(rest)
                self._last_byte = self.clock()
            self.changed.set()

    def troubled(self, trouble: Wait) -> None:
        """Show what keeps somebody from getting on, for as long as nobody else gets a byte, until `relieved`."""
        with self._lock:
            self._troubles.append(trouble)

    def relieved(self, trouble: Wait) -> None:
        """Take note that this trouble is over."""
        with self._lock:
            self._troubles.remove(trouble)

    @property
    def suspicious(self) -> bool:
        """Silence now would be the network's fault."""
        with self._lock:
            networking = self._state.phase in (Phase.LISTING, Phase.DOWNLOADING)
            return networking and self._readers > 0 and not self._rests

    def snapshot(self, stuck_volume: str = "") -> Snapshot:
        """Return what the run looks like now. Shown bytes never fall, also when a corrupt file is thrown away."""
        with self._lock:
            now = self.clock()
            state = self._state
            landed = min(self._landed, state.total_bytes)
            done = max(state.done_bytes, landed)
            self._state = state = replace(state, done_bytes=done)
            rate = self._rate(now) if state.phase in MOVING else 0.0
            left = (state.total_bytes - landed) / rate if rate >= 1 else None
            wait = self._wait()
            return replace(
                state,
                received_bytes=self._received,
                discarded_bytes=self._discarded,
                rate=rate if rate >= 1 else 0.0,
                eta=left if left is not None and left < LONGEST_ETA else None,
                waiting=wait.reason if wait else "",
                wait_left=max(0.0, wait.until - now) if wait else None,
                stuck_volume=stuck_volume,
            )

    def _wait(self) -> Wait | None:
        if self._rests:
            return self._rests[-1]
        standing = (trouble for trouble in self._troubles if trouble.since >= self._last_byte)
        return min(standing, key=lambda trouble: trouble.since, default=None)

    def _forget_pace(self) -> None:
        self._samples.clear()
        self._samples.append((self.clock(), self._landed))

    def _rate(self, now: float) -> float:
        samples = self._samples
        if now - samples[-1][0] >= RATE_WINDOW / 20:
            samples.append((now, self._landed))
        while len(samples) > 1 and now - samples[1][0] >= RATE_WINDOW:
            samples.popleft()
        since, before = samples[0]
        return max(0.0, (self._landed - before) / (now - since)) if now > since else 0.0


class _Counted:
    """A context for any number of threads at one time, that counts who is in it. Made once: a generator costs more."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count

    def __enter__(self) -> None:
        self._count(1)

    def __exit__(self, *_: object) -> None:
        self._count(-1)


class StallWatchdog:
    """Ends an attempt, or a listing, in which nothing moves. A rest or a stuck volume stops its clock."""

    def __init__(self, meter: ProgressMeter, timeout: float) -> None:
        self._meter = meter
        self._timeout = timeout
        self._history: deque[tuple[float, int]] = deque()
        self._answers = 0
        self._attempt: Cancellation | None = None

    def guard(self, attempt: Cancellation | None) -> None:
        """Watch this attempt, or the run while it lists, from now on; None to watch nothing."""
        self._attempt = attempt
        self._history = deque()

    def look(self, snapshot: Snapshot) -> None:
        """Cancel the attempt with Stalled when less than the floor rate arrived during the whole timeout."""
        attempt, history = self._attempt, self._history
        if attempt is None:
            return
        now = self._meter.clock()
        if snapshot.stuck_volume or not self._meter.suspicious:
            history.clear()
            return
        # Xet's servers are asked in a process of its own: who was asked here only gave a token.
        host = (
            self._meter.asked
            if snapshot.protocol is not TransferProtocol.XET or snapshot.phase is Phase.LISTING
            else ""
        )
        count, how = snapshot.received_bytes, f"over {snapshot.protocol}"
        if snapshot.phase is Phase.LISTING:
            answers, count = self._meter.answers
            how = "of the listing"
            if answers != self._answers:
                self._answers = answers
                history.clear()
        history.append((now, count))
        while len(history) > 1 and now - history[1][0] >= self._timeout:
            history.popleft()
        since, before = history[0]
        arrived = count - before
        if now - since >= self._timeout and arrived < FLOOR_RATE * self._timeout:
            what = "no byte" if arrived == 0 else f"only {arrived} bytes"
            who = f" from {host}" if host else ""
            attempt.cancel(Stalled(f"{what} arrived{who} {how} for {self._timeout:g} s"))


class Ticker:
    """The clock of a run: takes snapshots and shows them to all who watch, in a thread of its own."""

    def __init__(
        self,
        meter: ProgressMeter,
        watchers: list[Callable[[Snapshot], None]],
        *,
        stuck_volume: Callable[[], str] = lambda: "",
        interval: float = 0.5,
    ) -> None:
        self._meter = meter
        self._watchers = watchers
        self._stuck_volume = stuck_volume
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.tick()
            self._meter.changed.wait(self._interval)
            self._meter.changed.clear()

    def tick(self) -> None:
        """Show one snapshot to everybody."""
        snapshot = self._meter.snapshot(self._stuck_volume())
        for watcher in self._watchers:
            try:
                watcher(snapshot)
            except Exception as error:  # noqa: BLE001 - whoever watches cannot be allowed to end the run
                log.debug("a watcher failed: %s", error)

    def stop(self) -> None:
        """End the clock; no watcher is called afterwards."""
        self._stop.set()
        self._meter.changed.set()
        if self._thread.is_alive():
            self._thread.join()
