"""Further processes of one run: they share its work like the pods of a Job, but never lead it, and report to it.

Each is the program `helper_process.py`. It gets its task, pickled, on its standard input, which no other process reads:
settings may hold secrets. On its standard output it says how many bytes it has received so far.
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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from downloader.config.hub import hide_from_library
from downloader.config.s3 import unset_empty
from downloader.deadlines import CHECK_INTERVAL, HELPER_EXIT
from downloader.formatting import reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.config import Settings
    from downloader.config.sharing import Shard
    from downloader.progress import ProgressMeter

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
    """Starts the helpers of a run and ends them with it. Without them the run goes on alone."""

    def __init__(
        self, uri: str, settings: Settings, environment: Mapping[str, str], meter: ProgressMeter, *, cached: bool
    ) -> None:
        self._uri = uri
        self._settings = settings
        self._environment = environment
        self._meter = meter
        self._cached = cached
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def start(self, place: Shard, count: int) -> None:
        """Start those beside this process, which has this place and is one of `count`.

        Each lists the artifact itself: what a source knows of its files stays in its process.
        """
        for number in range(1, count):
            own = replace(place, index=place.index + number)
            task = Task(self._uri, self._settings, self._environment, own, self._cached, gc.get_threshold())
            try:
                process = _start(task)
            except OSError as error:
                log.warning("a further process cannot be started, so fewer share the work: %s", reason(error))
                return
            self._processes.append(process)
            for target in (self._count, self._log):
                thread = threading.Thread(target=target, args=(process,), name=f"helper-{number}", daemon=True)
                thread.start()
                self._threads.append(thread)

    def stop(self, *, done: bool) -> None:
        """End them. Those that are `done` end by themselves, as soon as they notice; no other does."""
        self._stopping = True
        deadline = time.monotonic() + HELPER_EXIT
        if not done:
            for process in self._processes:
                process.send_signal(signal.SIGTERM)  # they record what has arrived
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join(CHECK_INTERVAL)
        self._processes, self._threads = [], []

    def _count(self, process: subprocess.Popen[bytes]) -> None:
        """Add what a helper receives to the bytes of the run."""
        before = 0
        for line in process.stdout or ():
            received = int(line) if line.strip().isdigit() else before
            self._meter.add_received(max(0, received - before))
            before = max(before, received)

    def _log(self, process: subprocess.Popen[bytes]) -> None:
        """Log what a helper says, and keep its pipe empty; one that was killed has said nothing."""
        for line in process.stderr or ():
            log.info("process %d: %s", process.pid, line.decode(errors="replace").rstrip())
        status = process.wait()
        if status < 0 and not self._stopping:
            name = signal.Signals(-status).name
            why = ", as it happens when memory runs out" if status == -signal.SIGKILL else ""
            log.warning("a further process was ended by %s%s; the others do its work", name, why)


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
