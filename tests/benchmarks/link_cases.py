"""A server that is 40 ms away."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome
from tests.benchmarks.link import SERVER, Link, LinkError
from tests.benchmarks.measure import Case, compete
from tests.benchmarks.peers import OURS, ours
from tests.benchmarks.standings import ratios, table
from tests.benchmarks.web_peers import WebFolder, plain_reader, web_peers
from tests.servers.web import Options, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.bench import Bench, Files

DELAY = 0.02
"""Seconds each way."""
RATE = 125e6
"""Bytes per second: 1 Gbit/s."""
STREAM = "plain sockets"
_HOW = "The link: a network namespace behind two TUN devices and a relay of ours that holds each packet for 20 ms"
_FAILED = "Not measured: a link could not be made: {reason}\n"


def fat_pipe(bench: Bench, files: Files) -> Outcome:
    """Compare with what the link carries: sockets that are read and nothing else."""
    try:
        with _far_away(bench, files, RATE) as folder:
            contenders = [
                ours(f"{folder.url}/", prefix=folder.prefix),
                plain_reader(folder, "discard", STREAM, sync=False),
                *web_peers(folder),
            ]
            case = Case(files.digests, files.size, contenders)
            scores = compete(case, bench.folder, 1, bench.say)
    except LinkError as error:
        return Outcome(_FAILED.format(reason=error))
    values = ratios(case, scores, aside=(STREAM,))
    if f"wall / {STREAM}" in values:
        values["share of what the link carries"] = 1 / values[f"wall / {STREAM}"]
    how = f"{_HOW} and lets 1 Gbit/s through. What it carries: 8 {STREAM} that discard what they read.\n"
    return Outcome(f"{table(case, scores)}\n{how}", values)


def small_files(bench: Bench, files: Files, connections: int) -> Outcome:
    """Compare where each request costs a round trip, at the same number of connections."""
    try:
        with _far_away(bench, files, RATE, connections) as folder:
            mine = ours(f"{folder.url}/", "--connections", str(connections), prefix=folder.prefix)
            usual = ours(f"{folder.url}/", prefix=folder.prefix, name=f"{OURS}, as it comes")
            case = Case(files.digests, files.size, [mine, usual, *web_peers(folder)])
            scores = compete(case, bench.folder, 1, bench.say)
    except LinkError as error:
        return Outcome(_FAILED.format(reason=error))
    values = ratios(case, scores, aside=(usual.name,))
    if "wall / best peer" in values:
        values["files/s / best peer"] = 1 / values["wall / best peer"]
    return Outcome(f"{table(case, scores)}\n{_HOW}. Everybody was told to use {connections} connections.\n", values)


@contextmanager
def _far_away(bench: Bench, files: Files, rate: float, connections: int = 16) -> Iterator[WebFolder]:
    """Serve a folder over the link. Raises LinkError."""
    state = Path(tempfile.mkdtemp(prefix="nginx-", dir=bench.folder))
    with Link(DELAY, rate) as link, WebServer(bench.web, state=state, options=Options(addresses=[SERVER])) as server:
        url = f"http://{SERVER}:{server.port}/{files.name}"
        yield WebFolder(url, list(files.digests), prefix=link.prefix, connections=connections)
