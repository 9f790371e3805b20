"""A server that is 40 ms away."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome
from tests.benchmarks.link import SERVER, Link, LinkError, TcpRelay
from tests.benchmarks.peers import OURS, ours
from tests.benchmarks.results import ratios, table
from tests.benchmarks.web_cases import FOR_SMALL_FILES, LEFT_OUT
from tests.benchmarks.web_peers import WebFolder, plain_reader, web_peers
from tests.servers.web import Options, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.bench import Bench, Files
    from tests.benchmarks.measure import Tool

DELAY = 0.02
"""Seconds each way."""
RATE = 125e6
"""Bytes per second: 1 Gbit/s."""
STREAM = "plain sockets"
_LINK = (
    "The link: a network namespace behind two TUN devices and our relay, which delays each packet by 20 ms and "
    "lets 1 Gbit/s through."
)
_RELAYED = (
    "No real link could be made ({reason}), so each connection goes through our relay, which delays its bytes by "
    "20 ms each way and passes 1 Gbit/s, without loss or slow start."
)


def fat_pipe(bench: Bench, files: Files) -> Outcome:
    """Compare with what the link carries: sockets that are read and nothing else."""

    def tools(files: Files) -> list[Tool]:
        folder = far.folder(files)
        stream = plain_reader(folder, "discard", STREAM, sync=False)
        return [ours(f"{folder.url}/", prefix=folder.prefix), stream, *web_peers(folder)]

    with _far_away(bench) as far:
        scores = bench.compare(tools, files, rounds=1)
    values = ratios(files, scores, aside=(STREAM,))
    if f"wall / {STREAM}" in values:
        values["share of what the link carries"] = 1 / values[f"wall / {STREAM}"]
    how = f"{far.how} The capacity of the link was measured with 8 {STREAM} that discard what they read.\n"
    return Outcome(f"{table(files, scores)}\n{how}", values)


def small_files(bench: Bench, files: Files, connections: int) -> Outcome:
    """Compare where each request costs a round trip, at the same number of connections."""
    usual = f"{OURS}, as it comes"

    def tools(files: Files) -> list[Tool]:
        folder = far.folder(files, connections)
        peers = web_peers(folder, *FOR_SMALL_FILES)
        mine = ours(f"{folder.url}/", "--connections", str(connections), prefix=folder.prefix)
        return [mine, ours(f"{folder.url}/", prefix=folder.prefix, name=usual), *peers]

    with _far_away(bench) as far:
        scores = bench.compare(tools, files)
    values = ratios(files, scores, aside=(usual,))
    if "wall / best peer" in values:
        values["files/s / best peer"] = 1 / values["wall / best peer"]
    return Outcome(
        f"{table(files, scores)}\n{far.how} Each tool may use {connections} connections. {LEFT_OUT}\n", values
    )


@dataclass(frozen=True)
class _Far:
    """A server at the other end of a link."""

    origin: str
    prefix: Sequence[str]
    how: str
    """Which kind of link it is, in a sentence."""

    def folder(self, files: Files, connections: int = 16) -> WebFolder:
        url = f"{self.origin}/{files.name}"
        return WebFolder(url, list(files.digests), prefix=self.prefix, connections=connections)


@contextmanager
def _far_away(bench: Bench) -> Iterator[_Far]:
    """Serve everything over a link, of the better kind that the machine allows."""
    state = Path(tempfile.mkdtemp(prefix="nginx-", dir=bench.folder))
    try:
        link = Link(DELAY, RATE)
    except LinkError as error:
        with WebServer(bench.web, state=state) as server, TcpRelay(server.port, DELAY, RATE) as relay:
            yield _Far(f"http://{relay.host}", (), _RELAYED.format(reason=error))
        return
    with link, WebServer(bench.web, state=state, options=Options(addresses=[SERVER])) as server:
        yield _Far(server.url_at(SERVER), link.prefix, _LINK)
