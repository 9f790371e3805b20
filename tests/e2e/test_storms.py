"""Weather: servers that throttle all clients, addresses that run out, networks and API servers that are away."""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.command import finish, model, run, start
from tests.servers.blobs import Noise
from tests.servers.broken import BrokenWeb
from tests.servers.faults import FOREVER, Exchange, Fault, Reset, Trickle, too_many_requests
from tests.servers.relay import Relay
from tests.servers.s3 import new_bucket
from tests.waiting import Stopwatch, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.conftest import Watched
    from tests.servers.hub import Hub
    from tests.servers.kubernetes import KubernetesServer
    from tests.servers.origin import Server
    from tests.servers.s3 import S3Server

MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": Noise(40 * MIB, seed=51).bytes(),
    "model-00002-of-00002.safetensors": Noise(9 * MIB + 7, seed=52).bytes(),
}
WORKERS = 8
PIPELINED = 16
"""Requests for small files that a connection sends before the first response."""


@dataclass(frozen=True, slots=True)
class Storm(Fault):
    """For some seconds after the first request all clients are asked to wait until those are over."""

    seconds: float
    header: str = "Retry-After"
    value: str = "{}"
    """How the rest of the time is told."""
    times: list[float] = field(default_factory=list)
    """When each request came, counted from the first."""

    def prepare(self, exchange: Exchange) -> None:
        now = time.monotonic()
        if not self.times:
            self.times.append(now)
        elapsed = now - self.times[0]
        self.times.append(elapsed)
        if elapsed < self.seconds:
            left = self.value.format(math.ceil(self.seconds - elapsed))
            exchange.replace(429, {self.header: left}, b"slow down")

    @property
    def later(self) -> list[float]:
        """Requests that came during the storm, but after its first half, in which a busy machine starts its workers."""
        return [moment for moment in self.times[1:] if self.seconds / 2 < moment < self.seconds]


@pytest.mark.parametrize("protocol", ["HF_TRANSFER", "HTTP"])
def test_all_workers_share_one_pause(protocol: str, stocked: Hub, watched: Watched, tmp_path: Path) -> None:
    storm = Storm(6)
    stocked.faults.add(storm, route="cdn", times=FOREVER)
    extra = {**watched.environment, "HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol}
    began = Stopwatch()
    result = run("download", "hf://org/model", tmp_path / "t", extra={**extra, "STALL_TIMEOUT": "4"})
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    refused = [record for record in stocked.log.records("cdn") if record.status == 429]
    assert 1 <= len(refused) <= WORKERS
    assert storm.later == []
    assert began.undisturbed < storm.seconds + 10
    assert any("asks for a pause of" in message for message in watched.messages())


WINDOW = "RateLimit", '"resolvers";r=0;t={}'


@pytest.mark.parametrize("route", ["api", "tree", "resolve", "token"])
def test_a_window_in_which_the_hub_gives_no_more_is_one_pause(
    route: str, stocked: Hub, watched: Watched, tmp_path: Path
) -> None:
    storm = Storm(4, *WINDOW)
    stocked.faults.add(storm, route=route, times=FOREVER)
    protocol = "XET,HTTP" if route == "token" else "HF_TRANSFER"
    extra = {**watched.environment, "HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol}
    extra |= {"STALL_TIMEOUT": "3", "HF_HOME": str(tmp_path / "h")}
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert "switching" not in result.stderr
    assert model(tmp_path / "t") == FILES
    assert storm.later == []
    assert result.stderr.count("pausing all requests") == 1, result.stderr
    told = f"127.0.0.1:{stocked.server.port} asks for a pause of 4 s (HTTP 429)"
    assert told in result.stderr
    assert any(told in message for message in watched.messages())


def test_refusals_of_pipelined_requests_are_one_pause(hub: Hub, tmp_path: Path) -> None:
    small = {f"{number:03}.txt": b"%d" % number for number in range(128)}
    hub.create("org/model").commit(small)
    hub.resolve_cache = False
    hub.faults.add(too_many_requests("2"), route="resolve", times=PIPELINED)
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_CONNECTIONS": "2"}
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == small
    assert [record.status for record in hub.log.records("resolve")].count(429) == PIPELINED
    assert result.stderr.count("pausing all requests") == 1, result.stderr


@pytest.mark.parametrize("header", ["Retry-After", "RateLimit"])
def test_a_pause_that_a_web_server_asks_for_is_one_for_all(header: str, tmp_path: Path) -> None:
    storm = Storm(3) if header == "Retry-After" else Storm(3, *WINDOW)
    with BrokenWeb() as server:
        server.faults.add(storm, times=FOREVER)
        url = server.put("model.bin", FILES["model-00002-of-00002.safetensors"])
        extra = {"STALL_TIMEOUT": "2", "AIM_ACCEPT_ANY": "1"}
        result = run("download", url, tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert storm.later == []
    assert "asks for a pause of 3 s" in result.stderr


@pytest.mark.parametrize("route", ["listing", "object"])
def test_a_pause_that_an_s3_server_asks_for_is_one_for_all(route: str, s3: S3Server, tmp_path: Path) -> None:
    client, storm = s3.client(), Storm(3)
    bucket = new_bucket(client)
    for path, content in FILES.items():
        client.put_object(Bucket=bucket, Key=f"m/{path}", Body=content)
    with Relay(s3.endpoint) as relay:
        relay.faults.add(storm, route=route, times=FOREVER)
        extra = {**s3.environment(), "AWS_ENDPOINT_URL": relay.endpoint, "STALL_TIMEOUT": "3"}
        result = run("download", f"s3://{bucket}/m", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert storm.later == []
    assert "asks for a pause of 3 s" in result.stderr


def test_a_server_that_breaks_many_connections_at_once_is_asked_by_fewer(stocked: Hub, tmp_path: Path) -> None:
    stocked.faults.add(Reset(after=1 << 16), route="cdn", times=3 * WORKERS)
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_CONNECTIONS": str(WORKERS)}
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert "the server is throttling; reduced to" in result.stderr


@pytest.mark.parametrize("protocol", ["HF_TRANSFER", "HTTP"])
def test_addresses_that_run_out_are_renewed(protocol: str, stocked: Hub, tmp_path: Path) -> None:
    stocked.cdn.signer.lifetime = 2
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol, "AIM_BANDWIDTH": "12M"}
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert len(stocked.log.records("resolve", path="*.safetensors")) < 6 * WORKERS
    assert all(record.status in (200, 206, 403) for record in stocked.log.records("cdn"))


def test_addresses_that_are_revoked_half_way_are_renewed(stocked: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_BANDWIDTH": "30M"}
    extra["AIM_CONNECTIONS"] = "2"  # so that most ranges are still to be asked for
    only = "model-00001-of-00002.safetensors"  # a single file comes in ranges, not in one stream
    process = start("download", "hf://org/model", tmp_path / "t", "--include", only, extra=extra)
    for share in (1, 2, 3):
        assert eventually(lambda: stocked.log.sent("cdn") >= share * 10 * MIB or process.poll() is not None)  # noqa: B023
        stocked.cdn.signer.revoke()
    result = finish(process)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == {only: FILES[only]}
    assert any(record.status == 403 for record in stocked.log.records("cdn"))


@contextmanager
def away(server: Server, seconds: float) -> Iterator[None]:
    """Let a server refuse connections for so long."""
    server.refuse()
    timer = threading.Timer(seconds, server.accept)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.parametrize("name", ["hub", "cdn", "cas", "xorb"])
def test_a_server_that_is_away_for_some_seconds_costs_those_seconds(name: str, stocked: Hub, tmp_path: Path) -> None:
    servers = {
        "hub": stocked.server,
        "cdn": stocked.cdn.server,
        "cas": stocked.xet.server,
        "xorb": stocked.xet.transfer_host,
    }
    protocol = "XET,HF_TRANSFER" if name in ("cas", "xorb") else "HF_TRANSFER"
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol}
    with away(servers[name], 2):
        result = run("download", "hf://org/model", tmp_path / "t", extra={**extra, "HF_HOME": str(tmp_path / "h")})
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES


def test_a_server_that_goes_away_half_way_costs_nothing_but_time(stocked: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    process = start("download", "hf://org/model", tmp_path / "t", extra={**extra, "AIM_BANDWIDTH": "30M"})
    assert eventually(lambda: stocked.log.sent("cdn") >= 15 * MIB)
    with away(stocked.cdn.server, 2):
        result = finish(process)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES


UNKNOWING_RESOLVER = """
import socket
def getaddrinfo(*args, **kwargs):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.parametrize("uri", ["hf://org/model", "s3://bucket/model", "https://hub.test/model.bin"])
def test_an_unknown_host_is_told_soon(uri: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(UNKNOWING_RESOLVER)
    extra = {"HF_ENDPOINT": "https://hub.test", "AWS_ENDPOINT_URL": "https://hub.test", "STALL_TIMEOUT": "600"}
    extra["PROGRESS_INTERVAL"] = "60"
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "canary-key"}
    result = run("download", uri, tmp_path / "t", extra={**extra, **keys, "PYTHONPATH": str(tmp_path)})
    assert result.status == 69, result.stderr
    assert result.last_line.startswith("failed: there is no host of the name hub.test (check the address")
    assert result.stderr.count("there is no host of the name") == 2


BROKEN_RESOLVER = """
import socket, time
began, real = time.monotonic(), socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    if host == "hub.test":
        if time.monotonic() - began < {seconds}:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        host = "127.0.0.1"
    return real(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.parametrize(("seconds", "timeout", "status"), [(10, 30, 0), (3600, 6, 69)])
def test_names_that_cannot_be_resolved_for_a_while(
    stocked: Hub, tmp_path: Path, seconds: int, timeout: int, status: int
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "sitecustomize.py").write_text(BROKEN_RESOLVER.format(seconds=seconds))
    endpoint = stocked.endpoint.replace("127.0.0.1", "hub.test")
    extra = {"HF_ENDPOINT": endpoint, "PYTHONPATH": str(tmp_path / "lib"), "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    result = run("download", "hf://org/model", tmp_path / "t", extra={**extra, "STALL_TIMEOUT": str(timeout)})
    assert result.status == status, result.stderr
    assert "Temporary failure in name resolution" in result.stderr
    assert model(tmp_path / "t") == ({} if status else FILES)


API_SERVERS: dict[str, Callable[[KubernetesServer], None]] = {
    "refuses": lambda api: api.refuse(),
    "hangs": lambda api: api.hang(),
    "answers 500": lambda api: api.answer(500),
    "throttles": lambda api: api.answer(429, retry_after=60),
}


@pytest.mark.parametrize("how", API_SERVERS)
def test_a_download_does_not_notice_an_api_server_that(
    how: str, stocked: Hub, watched: Watched, tmp_path: Path
) -> None:
    API_SERVERS[how](watched.api)
    extra = {**watched.environment, "HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    began = Stopwatch()
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert began.undisturbed < 10, "the final state is tried for a few seconds"
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES


def test_the_token_of_the_api_server_may_rotate(stocked: Hub, watched: Watched, tmp_path: Path) -> None:
    stocked.faults.add(Trickle(rate=8 * MIB), route="cdn", times=FOREVER)
    extra = {**watched.environment, "HF_ENDPOINT": stocked.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP"}
    process = start("download", "hf://org/model", tmp_path / "t", extra=extra)
    watched.wait_for_message("")
    old = watched.pod.token
    watched.pod.refresh()
    watched.api.expire(old)
    result = finish(process)
    assert result.status == 0, result.stderr
    assert watched.status["progress"]["percentage"] == 100
    assert watched.status["progress"]["downloadedBytes"] == sum(map(len, FILES.values()))
