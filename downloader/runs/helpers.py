"""Further processes of one run: they share its work like the pods of a Job, but never lead it, and report to it.

Each is the program `helper_process.py`. It gets its task, pickled, on its standard input, which no other process reads:
settings may hold secrets. After that it is told there, in lines, how many processes are left when they become fewer. On
its standard output it says how many bytes it has received so far.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from downloader.config.hub import hide_from_library
from downloader.config.s3 import unset_empty
from downloader.deadlines import CHECK_INTERVAL, HELPER_EXIT
from downloader.formatting import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.config import Settings
    from downloader.config.sharing import Shard
    from downloader.runs.runner import Runner

REPLACED = 3
"""How often a process that was killed is replaced: where memory runs out for it each time, the others do its work."""
TERMINATED = 128 + signal.SIGTERM
"""The exit status of one that was ended by SIGTERM, which it catches."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What a helper has to know."""

    uri: str
    settings: Settings
    environment: Mapping[str, str]
    shard: Shard
    is_cached: bool
    """The artifact goes into a cache of huggingface_hub."""
    collects: tuple[int, int, int]
    """When to collect garbage, as `gc.get_threshold` has it: a listing makes many objects, and each process lists."""


class HelperProcesses:
    """Starts the helpers of a run, replaces those that are killed, and ends all with it.

    Without them the run goes on alone.
    """

    def __init__(
        self,
        uri: str,
        settings: Settings,
        environment: Mapping[str, str],
        runner: Runner,
        *,
        cached: bool,
        on_fewer: Callable[[int], None],
    ) -> None:
        """`on_fewer` is called with the number of processes that are left, this one included, when one has ended."""
        self._uri = uri
        self._settings = settings
        self._environment = environment
        self._runner = runner
        self._cached = cached
        self._on_fewer = on_fewer
        self._lock = threading.Lock()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        """By number, from 1 on."""
        self._deaths: Counter[int] = Counter()
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def start(self, place: Shard, count: int) -> None:
        """Start those beside this process, which has this place and is one of `count`.

        Each lists the artifact itself: what a source knows of its files stays in its process.
        """
        with self._lock:
            if not all(self._begin(place, number) for number in range(1, count)):
                self._tell()

    def _begin(self, place: Shard, number: int) -> bool:
        """Start one of them; return whether it could be started."""
        own = replace(place, index=place.index + number)
        task = Task(self._uri, self._settings, self._environment, own, self._cached, gc.get_threshold())
        try:
            process = _start(task)
        except OSError as error:
            log.warning("a further process cannot be started, so fewer share the work: %s", reason(error))
            return False
        self._processes[number] = process
        for target, arguments in ((self._count, (process,)), (self._attend, (process, place, number))):
            thread = threading.Thread(target=target, args=arguments, name=f"helper-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return True

    def stop(self, *, done: bool) -> None:
        """End them. Those that are `done` end by themselves, as soon as they notice; no other does."""
        with self._lock:
            self._stopping = True  # none is replaced from now on
        deadline = time.monotonic() + HELPER_EXIT
        processes = self._processes.values()
        if not done:
            for process in processes:
                process.send_signal(signal.SIGTERM)  # they record what has arrived
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join(CHECK_INTERVAL)
        self._processes, self._threads = {}, []

    def _count(self, process: subprocess.Popen[bytes]) -> None:
        """Add what a helper receives to the bytes of the run."""
        before = 0
        with process.stdout as told:  # type: ignore[union-attr]
            for line in told:
                received = int(line) if line.strip().isdigit() else before
                self._runner.meter.add_received_by_helper(max(0, received - before))
                before = max(before, received)

    def _attend(self, process: subprocess.Popen[bytes], place: Shard, number: int) -> None:
        """Log what a helper says, which keeps its pipe empty; when it has ended, replace it or do without it."""
        with process.stderr as said:  # type: ignore[union-attr]
            for line in said:
                log.info("process %d: %s", process.pid, line.decode(errors="replace").rstrip())
        status = process.wait()
        with self._lock:
            with contextlib.suppress(OSError):  # what it was told last may not have reached it
                process.stdin.close()  # type: ignore[union-attr]
            if self._stopping or self._runner.cancellation.reason is not None:
                return
            del self._processes[number]
            if (status < 0 or status == TERMINATED) and self._may_replace(status, number):
                self._begin(place, number)
            if number not in self._processes:
                self._tell()

    def _may_replace(self, status: int, number: int) -> bool:
        """Say that a helper was killed, which cannot say so itself; return whether another one takes its place."""
        self._deaths[number] += 1
        again = self._deaths[number] <= REPLACED
        signum = signal.SIGTERM if status == TERMINATED else -status
        why = ", as it happens when memory runs out" if signum == signal.SIGKILL else ""
        then = "another one takes its place" if again else "it is not replaced any more, and the others do its work"
        log.warning("a further process was ended by %s%s; %s", _name_of(signum), why, then)
        return again

    def _tell(self) -> None:
        """Tell each process how many are left, so that they divide what the ended one had."""
        count = 1 + len(self._processes)
        self._on_fewer(count)
        for process in self._processes.values():
            with contextlib.suppress(OSError):  # it has just ended, too
                process.stdin.write(b"%d\n" % count)  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]


def _name_of(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # most real-time signals have no name
        return f"signal {signum}"


def _start(task: Task) -> subprocess.Popen[bytes]:
    """Start a helper. Raises OSError."""
    environment = dict(task.environment)
    hide_from_library(environment)
    unset_empty(environment)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "downloader.runs.helper_process"],  # not from the working folder
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the run, which ends its helpers
    )
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(pickle.dumps(task))  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr] # it stays open: its end tells the helper that this process died
    return process
