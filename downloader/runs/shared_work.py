"""How one run shares its work: with further processes of its own, and with those of other pods."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from downloader.runs.wiring import Sharing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.config import Settings
    from downloader.config.sharing import Shard
    from downloader.runs.helpers import HelperProcesses
    from downloader.runs.processes import Processes
    from downloader.runs.runner import Runner
    from downloader.sources.bandwidth import Bandwidth
    from downloader.sources.registry import ArtifactUri


class SharedWork:
    """The further processes of one run: how many there are, what each is, and their start and end."""

    def __init__(
        self,
        uri: ArtifactUri,
        settings: Settings,
        runner: Runner,
        environment: Mapping[str, str],
        *,
        processes: Processes,
        bandwidth: Bandwidth | None,
        cached: bool,
        converts: bool,
    ) -> None:
        """Prepare; no process starts before the engine knows how much is missing.

        `bandwidth` is divided among the processes. `cached`: the artifact goes to a cache. `converts`: the run
        publishes other files than are fetched, such as those of an archive, and compares those with what is expected.
        """
        self._uri = uri
        self._settings = settings
        self._runner = runner
        self._environment = environment
        self._bandwidth = bandwidth
        self._processes = processes
        self._cached = cached
        self._converts = converts
        self._helpers: HelperProcesses | None = None
        self._board = ""
        """What they work on."""
        self._left: int | None = None
        """Processes that share the work of this run, once they have been started."""

    def of_run(self, *, judged_early: bool) -> Sharing | None:
        """Return how this run shares its work; None if it certainly works alone.

        What is `judged_early`, from its first bytes, is what this process fetches: then only a number that was asked
        for brings others.
        """
        pod = self._settings.sharing.pod
        if pod is None and (self._processes.most == 1 or (judged_early and self._settings.sharing.automatic)):
            return None
        return Sharing(partial(self._join, None), self._start, elsewhere=pod is not None)

    def as_helper(self, shard: Shard) -> Sharing:
        """Return how this process, which is one of another run's, takes part as `shard`."""
        return Sharing(partial(self._join, shard), self._start, elsewhere=True)

    def end(self, *, done: bool) -> None:
        """End the further processes; if `done`, the artifact is published and they end by themselves."""
        if self._helpers is not None:
            self._helpers.stop(done=done)
            self._helpers = None

    def divide(self, left: int) -> None:
        """Divide the bandwidth among the `left` processes, when one has ended."""
        self._left = left
        if self._bandwidth is not None:
            self._bandwidth.divide(left)

    def _join(self, shard: Shard | None, size: int) -> tuple[int, int] | None:
        """Decide how many processes fetch `size` bytes; return which of how many this is, None if it works alone."""
        count = self._processes.settle(size)
        if self._bandwidth is not None:
            self._bandwidth.divide(self._left or count)
        place = shard or self._settings.sharing.place(count)
        return (place.index, place.total) if place is not None else None

    def _start(self, board: str) -> None:
        """Start the further processes of this run for the work on this board, if it is to have any."""
        count = self._processes.count
        place = self._settings.sharing.place(count)
        if count < 2 or place is None:  # noqa: PLR2004 -- it is alone
            return
        if self._helpers is not None:
            if board == self._board and self._settings.sharing.pod is not None:
                return  # they are at work
            self._helpers.stop(done=False)  # the artifact was listed again, which has ended their work
        from downloader.runs.helpers import HelperProcesses  # noqa: PLC0415 -- most runs work alone

        sharing = replace(self._settings.sharing, processes=count)
        settings = replace(self._settings, sharing=sharing)
        if self._converts:
            settings = replace(settings, job=replace(settings.job, expect_digest="", expect_list=None))
        self._board = board
        self.divide(count)
        self._helpers = HelperProcesses(
            self._uri.text, settings, self._environment, self._runner, cached=self._cached, on_fewer=self.divide
        )
        self._helpers.start(place, count)
