"""Nothing for ever: in every phase a run moves, waits for a stated reason, or ends soon after STALL_TIMEOUT.

Bodies over plain HTTP that stall are rows of tests/faults/test_web_servers.py, Xet's of tests/faults/test_xet.py, a
volume that does not answer is in tests/contract/test_debug_switches.py. Here is everything else that can hang.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.command import finish, model, run, start
from tests.servers.blobs import Noise
from tests.servers.broken import BrokenWeb
from tests.servers.faults import FOREVER, Exchange, Fault, IgnoreRange, Silence, Stall, Trickle, too_many_requests
from tests.servers.relay import Relay
from tests.servers.s3 import fill_bucket
from tests.soak.disturbances import children
from tests.waiting import AT_LAST, Stopwatch, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Watched
    from tests.servers.faults import Faults
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

MIB = 1 << 20
STALL = 3.0
PROMISED = 10.0
"""Seconds that a run may take beyond STALL_TIMEOUT, for each protocol that it tries (docs/reliability.md)."""
SLACK = AT_LAST
"""The same on a busy machine, where this only shows what hangs."""
SIZES = {f"part-{number:03}.json": 10 + number for number in range(60)} | {"model.safetensors": 12 * MIB}
FILES = {path: Noise(size, seed).bytes() for seed, (path, size) in enumerate(SIZES.items())}


@dataclass(frozen=True, slots=True)
class SlowHead(Fault):
    """The head of the reply comes letter by letter and never ends."""

    def play(self, exchange: Exchange, after: int) -> None:
        del after
        exchange.send(b"HTTP/1.1 200 OK\r\nX-Header: ")
        while True:
            exchange.send(b"x")
            exchange.hang(0.1)


@dataclass
class Place:
    """An artifact behind servers that can be made to hang."""

    uri: str
    extra: dict[str, str]
    faults: Faults


@pytest.fixture
def at_hub(hub: Hub, tmp_path: Path) -> Place:
    """The artifact on a Hub."""
    hub.create("org/model").commit(FILES)
    return Place("hf://org/model", {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "h")}, hub.faults)


@pytest.fixture(scope="session")
def bucket(s3: S3Server) -> str:
    """Some of its files in a bucket."""
    fill_bucket(s3.client(), "stalls", {f"m/{path}": FILES[path] for path in list(FILES)[-5:]})
    return "stalls"


@pytest.fixture
def at_s3(s3: S3Server, bucket: str) -> Iterator[Place]:
    """The bucket behind a relay."""
    with Relay(s3.endpoint) as relay:
        yield Place(f"s3://{bucket}/m", {**s3.environment(), "AWS_ENDPOINT_URL": relay.endpoint}, relay.faults)


@pytest.fixture
def at_web() -> Iterator[Place]:
    """A folder of a web server."""
    with BrokenWeb() as web:
        sums = "".join(f"{'0' * 64}  {path}\n" for path in FILES)
        for path, content in {**FILES, "SHA256SUMS": sums.encode()}.items():
            web.put(f"folder/{path}", content)
        yield Place(web.url("folder/"), {}, web.faults)


@dataclass(frozen=True)
class Hanging:
    """A fault that never ends, and where it strikes."""

    place: str
    fault: Fault
    route: str = "*"
    method: str = "*"
    path: str = "*"
    protocols: int = 0
    """How many are tried before the run ends; 0 where it ends before the first."""


PHASES = {
    "the Hub does not tell the commit": Hanging("hub", Silence(), "api"),
    "the Hub's listing does not begin": Hanging("hub", Silence(), "tree"),
    "the Hub's listing stops half-way": Hanging("hub", Stall(after=5000), "tree"),
    "the Hub's listing trickles": Hanging("hub", Trickle(rate=40), "tree"),
    "the head of the Hub's listing trickles": Hanging("hub", SlowHead(), "tree"),
    "the Hub does not tell where a file is": Hanging("hub", Silence(), "resolve", protocols=3),
    "the head of that answer trickles": Hanging("hub", SlowHead(), "resolve", protocols=3),
    "the bucket's listing does not begin": Hanging("s3", Silence(), "listing"),
    "the bucket's listing trickles": Hanging("s3", Trickle(rate=40), "listing"),
    "the head of the bucket's listing trickles": Hanging("s3", SlowHead(), "listing"),
    "objects cannot be asked for their checksums": Hanging("s3", Silence(), "object"),
    "objects stop coming": Hanging("s3", Stall(), "object", method="GET", protocols=2),
    "objects trickle": Hanging("s3", Trickle(rate=40), "object", method="GET", protocols=2),
    "the web server's list of checksums trickles": Hanging("web", Trickle(rate=40), path="*/SHA256SUMS"),
    "the web server's files cannot be asked for their sizes": Hanging("web", Silence(), path="*/folder/[!S]*"),
    "the heads of those answers trickle": Hanging("web", SlowHead(), method="HEAD"),
}


def assert_in_time(began: Stopwatch, seconds: float, *, protocols: int = 1) -> None:
    """Assert that a run took no more than `seconds` and what is promised beyond that for each of its protocols."""
    assert began.undisturbed < seconds + protocols * PROMISED
    assert began.seconds < seconds + protocols * SLACK


@pytest.mark.parametrize("sentence", PHASES)
def test_the_run_ends_in_time_when(sentence: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    row = PHASES[sentence]
    place: Place = request.getfixturevalue(f"at_{row.place}")
    place.faults.add(row.fault, route=row.route, method=row.method, path=row.path, times=FOREVER)
    began = Stopwatch()
    result = run("download", place.uri, tmp_path / "t", extra={**place.extra, "STALL_TIMEOUT": f"{STALL:g}"})
    assert_in_time(began, max(1, row.protocols) * STALL, protocols=max(1, row.protocols))
    assert result.status == 75, result.stderr
    assert not list((tmp_path / "t").glob(".downloading/lease*"))


@pytest.mark.parametrize("fault", [Silence(), Trickle(rate=40), SlowHead()], ids=lambda fault: type(fault).__name__)
def test_asking_for_the_size_ends_in_time_too(fault: Fault, at_hub: Place) -> None:
    at_hub.faults.add(fault, route="tree", times=FOREVER)
    began = Stopwatch()
    result = run("size", at_hub.uri, extra={**at_hub.extra, "STALL_TIMEOUT": f"{STALL:g}"})
    assert_in_time(began, STALL)
    assert result.status == 75, result.stderr
    assert result.stdout == ""


def test_a_slow_listing_that_gets_on_is_no_stall(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({f"part-{number:03}.json": b"{}" for number in range(300)})
    hub.page_size = 100
    rate, stall = 6000, 2  # far above what counts as a stall, since a busy machine is slower
    hub.faults.add(Trickle(rate=rate), route="tree", times=FOREVER)
    extra = {"HF_ENDPOINT": hub.endpoint, "STALL_TIMEOUT": str(stall)}
    result = run("download", "hf://org/model", tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert hub.log.sent("tree") > 2 * stall * rate


def test_a_frozen_xet_process_is_given_up_for_the_next_protocol(hub: Hub, at_hub: Place, tmp_path: Path) -> None:
    at_hub.faults.add(Trickle(rate=2 * MIB), route="xorb", times=FOREVER)
    extra = {**at_hub.extra, "AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "STALL_TIMEOUT": f"{2 * STALL:g}"}
    process = start("download", at_hub.uri, tmp_path / "t", extra=extra)
    assert eventually(lambda: hub.log.sent("xorb") > MIB)
    (child,) = children(tmp_path / "h")
    os.kill(child, signal.SIGSTOP)
    began = Stopwatch()
    result = finish(process)
    assert_in_time(began, 2 * STALL)
    assert result.status == 0, result.stderr
    assert "switching to HTTP" in result.stderr
    assert model(tmp_path / "t") == FILES
    assert not children(tmp_path / "h")


def test_a_pause_that_the_server_asks_for_is_stated_and_outlasts_the_stall_timeout(
    hub: Hub, watched: Watched, tmp_path: Path
) -> None:
    hub.create("org/model").commit(FILES)
    hub.faults.add(too_many_requests("5"), route="cdn")
    extra = {**watched.environment, "HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    result = run("download", "hf://org/model", tmp_path / "t", extra={**extra, "STALL_TIMEOUT": "4"})
    assert result.status == 0, result.stderr
    assert any("asks for a pause of 5 s" in message for message in watched.messages())


@pytest.mark.parametrize("protocol", ["HF_TRANSFER", "XET"])
def test_a_cap_on_the_bandwidth_is_kept_and_is_no_stall(protocol: str, hub: Hub, tmp_path: Path) -> None:
    size, rate = 3 * MIB, 700_000
    hub.create("org/model").commit({"model.safetensors": Noise(size)})
    extra = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "h"), "AIM_DOWNLOADER_PROTOCOL": protocol}
    began = Stopwatch()
    limits = {"AIM_BANDWIDTH": str(rate), "STALL_TIMEOUT": "3"}
    result = run("download", "hf://org/model", tmp_path / "t", extra={**extra, **limits})
    assert result.status == 0, result.stderr
    assert "switching" not in result.stderr
    assert began.seconds > 0.8 * size / rate


DEADLINES: dict[str, tuple[str, Fault]] = {
    "lists": ("tree", Silence()),
    "lists slowly": ("tree", Trickle(rate=40)),
    "waits for a file's address": ("resolve", Silence()),
    "reads": ("cdn", Stall(after=MIB)),
    "reads slowly": ("cdn", Trickle(after=MIB, rate=20_000)),
    "sits out a pause": ("cdn", too_many_requests("300")),
}


@pytest.mark.parametrize("doing", DEADLINES)
def test_the_deadline_ends_a_run_that(doing: str, at_hub: Place, tmp_path: Path) -> None:
    route, fault = DEADLINES[doing]
    at_hub.faults.add(fault, route=route, times=FOREVER)
    extra = {**at_hub.extra, "STALL_TIMEOUT": "600", "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER,HTTP"}
    began = Stopwatch()
    result = run("download", at_hub.uri, tmp_path / "t", "--deadline", "2", extra=extra)
    assert_in_time(began, 2)
    assert result.status == 75, result.stderr
    assert "deadline of 2 s" in result.last_line
    assert not list((tmp_path / "t").glob(".downloading/lease*"))


def test_the_beginning_of_a_resumed_file_that_comes_again_is_no_silence(own_web: BrokenWeb, tmp_path: Path) -> None:
    """The server sends whole files only. To get to what is missing may take longer than STALL_TIMEOUT."""
    data = FILES["model.safetensors"]
    uri = f"{own_web.put('model.bin', data)}#sha256={hashlib.sha256(data).hexdigest()}"
    own_web.faults.add(Stall(after=8 * MIB), times=FOREVER)
    first = run("download", uri, tmp_path / "m", "--protocol", "HTTP", extra={"STALL_TIMEOUT": "1"})
    assert first.status == 75, first.stderr
    own_web.faults.clear()
    own_web.faults.add(IgnoreRange(), times=FOREVER)
    report = tmp_path / "report.json"
    again = run("download", uri, tmp_path / "m", "--protocol", "HTTP", "--report", str(report))
    assert again.status == 0, again.stderr
    assert model(tmp_path / "m") == {"model.bin": data}
    counted = json.loads(report.read_bytes())["bytes"]
    assert counted["reused"] > 0
    assert counted["received"] == len(data)
