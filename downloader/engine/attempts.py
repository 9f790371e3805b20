"""Makes an attempt along each route, over the files that are still missing."""

from __future__ import annotations

import logging
from array import array
from typing import TYPE_CHECKING

from downloader.artifact import TransferProtocol, paths_of, select
from downloader.cancellation import Cancellation
from downloader.engine.places import next_route
from downloader.engine.sink import VolumeSink
from downloader.errors import Category, DownloadError, ProtocolFailed, SourceChanged, SourceNotFound, kind_of
from downloader.events import AttemptStarted, ProtocolSwitched
from downloader.formatting import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.artifact import RemoteFile
    from downloader.engine.places import Route
    from downloader.engine.plan import Outcome, Plan
    from downloader.integrity import Verifier
    from downloader.progress import ProgressMeter, StallWatchdog
    from downloader.shards import Member
    from downloader.transfer import Feed
    from downloader.volume import Volume

PLAINEST = frozenset({TransferProtocol.HTTP, TransferProtocol.FILE})
"""A sequence with one of these is not short of a plainer protocol."""

log = logging.getLogger(__name__)


def decisive_failure(failures: Mapping[str, DownloadError]) -> DownloadError:
    """Return the failure that an attempt ends with.

    It depends on what failed and not on what failed first, so that every pod of a Job reports the same.
    """
    categories = list(Category)
    path = min(
        failures, key=lambda path: (-categories.index(failures[path].category), failures[path].exit_status, path)
    )
    return failures[path]


def _left(missing: Sequence[RemoteFile], outcome: Outcome) -> Sequence[RemoteFile]:
    """Return those of the missing files that are still missing."""
    paths = paths_of(missing)
    return select(missing, array("I", (row for row, path in enumerate(paths) if path not in outcome.checksums)))


class Attempts:
    """The attempts of one run."""

    def __init__(
        self,
        routes: Sequence[Route],
        volume: Volume | Member,
        plan: Plan,
        verifier: Verifier,
        *,
        meter: ProgressMeter,
        watchdog: StallWatchdog,
        cancellation: Cancellation,
        ending: Cancellation,
        make_feed: Callable[..., Feed | None],
    ) -> None:
        """Fetch along `routes` to a volume, or as a member of several processes. `ending` ends the attempts.

        `make_feed` returns what finds work for an attempt while it runs (`Engine._make_feed`).
        """
        self._ending = ending
        self._make_feed = make_feed
        self._routes = routes
        self._sequence = tuple(route.protocol for route in routes)
        self._volume = volume
        self._plan = plan
        self._verifier = verifier
        self._meter = meter
        self._watchdog = watchdog
        self._cancellation = cancellation

    def fetch(self, missing: Sequence[RemoteFile], outcome: Outcome) -> None:
        """Make attempts until nothing is missing. Raises the failure that ends the last one."""
        why, position = "", next_route(self._routes, 0, missing)
        if position is None:
            raise self._nowhere(None, len(missing))
        while position is not None:
            route, number = self._routes[position], position + 1
            self._meter.begin_attempt(route.protocol, number, self._sequence, why, route.place.name)
            begun = AttemptStarted(
                protocol=route.protocol,
                attempt=number,
                attempts=len(self._routes),
                files=len(missing),
                place=route.place.name,
            )
            told = (number, len(self._routes), route.name, format_count(len(missing), "file"))
            log.info("attempt %d of %d: %s, %s missing", *told, extra=begun.extra())
            try:
                failures = self._run_one(route, missing, outcome)
            except DownloadError as fatal:
                self._meter.end_attempt(fatal, len(_left(missing, outcome)))
                raise
            missing = _left(missing, outcome)
            error = decisive_failure(failures) if failures and missing else None
            if error is not None and "" in failures:
                route.place.ended(failures[""])
            self._meter.end_attempt(error, len(missing))
            if not missing:
                return
            position = next_route(self._routes, number, missing)
            if position is None:
                raise self._nowhere(error, len(missing))
            why = self._switch(route, self._routes[position], len(missing), error)

    def _nowhere(self, error: DownloadError | None, left: int) -> DownloadError:
        """Return the error for files that no place is left to be asked for, after that of the last attempt.

        What a mirror lacks or has changed says nothing of the artifact: only of its origin is another listing worth it.
        """
        unlisted = any(route.place.is_abandoned for route in self._routes)
        if error is not None and not (unlisted and isinstance(error, SourceChanged | SourceNotFound)):
            if isinstance(error, ProtocolFailed) and not error.hint and PLAINEST.isdisjoint(self._sequence):
                error.hint = "add HTTP to AIM_DOWNLOADER_PROTOCOL (--protocol)"
            return error
        return ProtocolFailed(
            f"no place that was asked has {format_count(left, 'file')} of the artifact",
            hint="run it again when its origin answers, or name another mirror",
        )

    def _switch(self, route: Route, following: Route, left: int, error: DownloadError | None) -> str:
        """Log that the next route continues, and return why."""
        reason = error.message if error is not None else "it has no more of them"
        why = f"{route.name} left {format_count(left, 'file')}: {reason}; switching to {following.name}"
        switched = ProtocolSwitched(
            protocol=route.protocol,
            next=following.protocol,
            files=left,
            error=kind_of(error) if error is not None else "",
            reason=reason,
            place=route.place.name,
            next_place=following.place.name,
        )
        log.log(logging.WARNING if error is not None else logging.INFO, "%s", why, extra=switched.extra())
        return why

    def _run_one(self, route: Route, missing: Sequence[RemoteFile], outcome: Outcome) -> dict[str, DownloadError]:
        """Fetch files along one route; return path → error of those still missing, under `""` that of the attempt."""
        attempt = Cancellation(self._ending)
        sink = VolumeSink(
            self._volume,
            self._meter,
            attempt,
            plan=self._plan,
            outcome=outcome,
            verifier=self._verifier,
            route=route,
        )
        self._watchdog.guard(attempt)
        try:
            files = route.place.files(outcome.manifest, missing, attempt)
            if files:
                feed = self._make_feed(files, sink, outcome, leaves=len(files) < len(missing))
                route.make(route.protocol, attempt).fetch(files, sink, feed)
        except DownloadError as error:
            self._cancellation.check()
            if route.ends_run(error):
                raise
            sink.failures[""] = error
        finally:
            self._watchdog.guard(None)
            attempt.close()
            sink.close(self._cancellation.check)
        return sink.failures
