"""Everything at once, killed at random: stages, restages, syncs and reapers on one disk, and a reader of it."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.adapters.jobs import SERVICE, AdapterJobs, age
from tests.adapters.reader import Reader, versioned
from tests.command import finish
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.servers.hub import Hub

SECONDS = 10
"""How long it goes on; raise it for a night."""
OTHER = "service-2"
DEAD = "service-3"


class Chaos:
    """Runs jobs again and again, each in a thread of its own, and kills half of them on their way."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.ended: list[int] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def repeat(self, seed: int, opened: Callable[[int], subprocess.Popen[str]], *expected: int) -> None:
        """Run an entry point with a growing number; what is not killed must end with one of the expected statuses."""
        dice = random.Random(seed)  # noqa: S311

        def run() -> None:
            number = 0
            while not self._stop.is_set():
                number += 1
                process = opened(number)
                if dice.random() < 0.5:
                    time.sleep(dice.uniform(0.2, 1.5))
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                result = finish(process)
                self.ended.append(result.status)
                if result.status not in (*expected, -signal.SIGKILL):
                    self.problems.append(f"{result.status}: {result.stderr}")

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def end(self) -> None:
        """Let what runs come to its end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_no_live_adapter_is_lost_or_half_whichever_process_is_killed(hub: Hub, jobs: AdapterJobs) -> None:
    repository = hub.create("org/lora")
    repository.commit(versioned(1))
    jobs.extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP"}

    def enough() -> bool:
        return len(reader.versions["lora-a"]) > 1 and {0, -signal.SIGKILL} <= set(chaos.ended)

    for adapter in ("lora-a", "lora-b"):
        assert jobs.stage("hf://org/lora", adapter).status == 0

    def stage(adapter: str, number: int, service: str = SERVICE) -> subprocess.Popen[str]:
        repository.commit(versioned(2 + number))
        return jobs.start_stage("hf://org/lora", adapter, f"job-{number // 3}", SERVICE_ID=service)

    def sync(_: int) -> subprocess.Popen[str]:
        return jobs.start("adapter-subtree-sync.sh", SERVICE_ID=SERVICE, KEEP_ADAPTER_PATHS="lora-a,lora-b")

    def reap(_: int) -> subprocess.Popen[str]:
        return jobs.start("adapter-reap.sh", KEEP_SERVICE_IDS=f"{SERVICE},{OTHER}")

    chaos = Chaos()
    with Reader(jobs.live) as reader:
        chaos.repeat(1, lambda number: stage("lora-a", number), 0)
        chaos.repeat(2, lambda number: stage("lora-b", number), 0)
        chaos.repeat(3, lambda number: stage("lora-a", number), 0)  # two pods of one Job
        chaos.repeat(4, lambda number: stage("undeclared", number), 0)
        chaos.repeat(5, lambda number: stage("lora-c", number, DEAD), 0, 74, 75)  # taken away while it works
        chaos.repeat(6, sync, 0)
        chaos.repeat(7, reap, 0)
        time.sleep(SECONDS)
        assert eventually(enough, 2 * AT_LAST)
        chaos.end()
    assert chaos.problems == []
    assert reader.wrong == []
    assert reader.absent.keys() <= {"undeclared"}

    age(jobs.disk)  # leases say for half an hour that a dead process may be alive
    result = jobs.reap(f"{SERVICE},{OTHER}")
    assert result.status == 0, result.stderr
    # Staging has no deadline: what a killed Job of a kept service has left waits for its retry, or for the end of the
    # service.
    kept = tuple(f".staging/{service}" for service in (SERVICE, OTHER))
    assert [path for path in jobs.remains() if not path.startswith(kept)] == []
    assert sorted(path.name for path in jobs.disk.iterdir() if path.name[0] != ".") == [SERVICE]
    assert jobs.sync("lora-a,lora-b").status == 0
    assert sorted(path.name for path in jobs.live.iterdir()) == ["lora-a", "lora-b"]
