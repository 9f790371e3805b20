"""What the objects of a run tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader import integrity
from downloader.artifact import Span
from downloader.network import HttpClient, Proxies, Timeouts, Trust
from downloader.progress import ProgressMeter
from downloader.runs.wiring import NetworkProgress
from downloader.sources.http import HttpSource
from downloader.sources.pause import SharedPause
from downloader.sources.retry import RetryPolicy
from downloader.sources.retrying import RetryingSource
from tests.clocks import Clock, Sleepless
from tests.servers.blobs import Noise
from tests.servers.broken import BrokenWeb
from tests.servers.faults import FOREVER, IgnoreRange
from tests.sources.reading import read
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from tests.servers.faults import Exchange

CONTENT = Noise(1 << 20, seed=18).bytes()
HALF = len(CONTENT) // 2
BUDGET = 60.0


@dataclass(frozen=True, slots=True)
class BreaksOff(IgnoreRange):
    """The whole resource, whatever part was asked for, up to some bytes behind its middle."""

    def play(self, exchange: Exchange, after: int) -> None:
        del after
        self.prepare(exchange)
        exchange.head()
        exchange.body(until=HALF + 100)
        exchange.end(reset=False)


class SlowProgress(NetworkProgress):
    """Each byte that comes before the missing ones takes its time."""

    def __init__(self, meter: ProgressMeter, clock: Clock) -> None:
        super().__init__(meter)
        told = self.on_skipped

        def on_skipped(count: int) -> None:
            clock.pass_by(count * 10 * BUDGET / HALF)
            told(count)

        self.on_skipped = on_skipped


def test_an_error_after_the_long_beginning_of_a_resumed_file_is_retried() -> None:
    """The time that a server without ranges takes for what is there is not time without progress."""
    clock = Clock()
    meter = ProgressMeter(clock)
    observer = SlowProgress(meter, clock)
    client = HttpClient(
        Trust(verify=False),
        Proxies(),
        user_agent="tests",
        timeouts=Timeouts(AT_LAST, AT_LAST),
        observer=observer,
        content=integrity,
    )
    policy = RetryPolicy(BUDGET, meter, Sleepless(clock), SharedPause(clock))
    with BrokenWeb() as web:
        source = HttpSource(web.put("model.bin", CONTENT), client, {})
        (file,) = source.manifest().files
        web.faults.add(BreaksOff(), times=2)
        web.faults.add(IgnoreRange(), times=FOREVER)
        assert read(RetryingSource(source, policy), file, Span(HALF, file.size)) == CONTENT[HALF:]
    client.close()
    assert clock.now - 1000.0 >= 3 * 10 * BUDGET
