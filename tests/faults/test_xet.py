"""Xet when it works, and something else within moments when it does not: the real hf_xet against a broken storage."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import environment, finish, model, run, start
from tests.servers.blobs import Noise
from tests.servers.faults import (
    Answer,
    Cut,
    Fault,
    Flip,
    HangUp,
    Held,
    IgnoreRange,
    Misdeclare,
    Reset,
    Silence,
    Stall,
    too_many_requests,
    web_page,
)
from tests.waiting import AT_LAST, Stopwatch, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.hub import Hub

MIB = 1 << 20
EVER = float("inf")
SOON = {"STALL_TIMEOUT": "4"}
"""How soon a run switches that hangs; where it does not, a busy machine must not be taken for a fault that hangs."""
HANG = Silence, Stall
FILES = {
    "config.json": b'{"model_type": "test"}',
    "model-00001-of-00002.safetensors": Noise(40 * MIB, seed=21).bytes(),
    "model-00002-of-00002.safetensors": Noise(9 * MIB + 1, seed=22).bytes(),
}
XET_BYTES = 49 * MIB + 1


@dataclass(frozen=True)
class Broken:
    """A fault on one of Xet's routes, and a pattern in the reason that must be given for switching."""

    route: str
    fault: Fault
    reason: str
    times: float = EVER
    offset: int = 0


BROKEN = {
    "the storage wants other credentials": Broken("cas", Answer(401), "401"),
    "the storage forbids it": Broken("cas", Answer(403), "403"),
    "the storage does not know the file": Broken("cas", Answer(404), "404"),
    "the storage is overloaded": Broken("cas", Answer(503), "503"),
    "the storage throttles for ever": Broken("cas", too_many_requests("1"), "asks for a pause"),
    "the storage answers with a web page": Broken("cas", web_page(), "garbled"),
    "the storage never answers": Broken("cas", Silence(), "Xet"),
    "the storage hangs up": Broken("cas", HangUp(reset=True), "Xet"),
    "the transfer host forbids it": Broken("xorb", Answer(403), "403"),
    "the transfer host has lost it": Broken("xorb", Answer(404), "Xet"),
    "the transfer host stalls half-way": Broken("xorb", Stall(after=MIB), "Xet"),
    "the transfer host resets each connection": Broken("xorb", Reset(after=MIB), "broke"),
    "the transfer host cuts each body": Broken("xorb", Cut(after=MIB), "broke"),
    "the transfer host promises too little": Broken("xorb", Misdeclare(by=-1000), "Xet's storage"),
    "the transfer host ignores ranges": Broken("xorb", IgnoreRange(), "Xet"),
    "the transfer host serves a wrong byte": Broken("xorb", Flip(), "sha256|damaged", offset=5 * MIB),
    "there is no token endpoint, as on a mirror": Broken("token", Answer(404), "gives no Xet token"),
    "the token endpoint is overloaded": Broken("token", Answer(503), "Xet token"),
    "the token endpoint hangs": Broken("token", Silence(), "Xet token"),
    "the token endpoint answers with a web page": Broken("token", web_page(), "makes no sense"),
    "a token is good for ever": Broken(
        "token", Answer(200, {}, b'{"casUrl": "http://cas", "accessToken": "x", "exp": 1e999}'), "makes no sense"
    ),
    "the token endpoint answers with JSON of any depth": Broken(
        "token", Answer(200, {}, b"[" * 60_000), "makes no sense"
    ),
}

PASSING = {
    "the storage is overloaded once": Broken("cas", Answer(503), "", times=1),
    "the transfer host resets once": Broken("xorb", Reset(after=MIB), "", times=1),
    "the transfer host cuts once": Broken("xorb", Cut(after=MIB), "", times=1),
    "a signed address has run out": Broken("xorb", Answer(403), "", times=1),
    "the token endpoint is overloaded once": Broken("token", Answer(503), "", times=1),
    "a wrong byte comes once": Broken("xorb", Flip(), "", times=1, offset=5 * MIB),
}


@pytest.fixture
def model_hub(hub: Hub) -> Hub:
    hub.create("org/model").commit(FILES)
    return hub


def settings(hub: Hub, tmp_path: Path, **more: str) -> dict[str, str]:
    defaults = {"AIM_DOWNLOADER_PROTOCOL": "XET,HTTP", "HF_HOME": str(tmp_path / "scratch")}
    return {"HF_ENDPOINT": hub.endpoint, **defaults, **more}


def test_files_come_over_xet_and_the_others_over_http_in_the_same_attempt(model_hub: Hub, tmp_path: Path) -> None:
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(model_hub, tmp_path))
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert "switching" not in result.stderr
    assert model_hub.log.sent("cdn") == 0
    assert eventually(lambda: model_hub.log.sent("xorb") >= XET_BYTES)
    assert model_hub.log.sent("xorb") < XET_BYTES * 1.02
    assert not model_hub.log.records("telemetry")
    assert not any((tmp_path / "scratch").iterdir())
    assert not model_hub.leaks


def test_tokens_and_addresses_that_run_out_are_renewed(model_hub: Hub, tmp_path: Path) -> None:
    model_hub.xet.tokens.lifetime = 2
    model_hub.xet.urls.lifetime = 2
    extra = settings(model_hub, tmp_path, AIM_BANDWIDTH="12M")  # so that the files take longer than that
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert "switching" not in result.stderr


def test_the_older_reconstruction_interface_will_do(model_hub: Hub, tmp_path: Path) -> None:
    model_hub.xet.newest_version = 1
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(model_hub, tmp_path))
    assert result.status == 0, result.stderr
    assert "switching" not in result.stderr


@pytest.mark.parametrize("sentence", BROKEN)
def test_the_run_switches_with_a_reason_when(sentence: str, model_hub: Hub, tmp_path: Path) -> None:
    row = BROKEN[sentence]
    model_hub.faults.add(row.fault, route=row.route, offset=row.offset, times=row.times)
    timeout = SOON if isinstance(row.fault, HANG) else {}
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(model_hub, tmp_path, **timeout))
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    switch = next(line for line in result.stderr.splitlines() if "switching to HTTP" in line)
    # hf_xet swallows its own error now and then: then all that can be told is that its storage broke off.
    assert re.search(f"{row.reason}|broke off", switch, re.IGNORECASE)


@pytest.mark.parametrize("sentence", PASSING)
def test_xet_gets_over_it_when(sentence: str, model_hub: Hub, tmp_path: Path) -> None:
    row = PASSING[sentence]
    model_hub.faults.add(row.fault, route=row.route, offset=row.offset, times=row.times)
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(model_hub, tmp_path))
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert "switching" not in result.stderr


def refuse_storage(hub: Hub) -> None:
    hub.xet.server.refuse()


def refuse_transfers(hub: Hub) -> None:
    hub.xet.transfer_host.refuse()


def blackhole_storage(hub: Hub) -> None:
    hub.xet.server.ignore()


@pytest.mark.parametrize("break_it", [refuse_storage, refuse_transfers, blackhole_storage])
def test_a_storage_that_cannot_be_reached_costs_seconds(
    break_it: Callable[[Hub], None], model_hub: Hub, tmp_path: Path
) -> None:
    break_it(model_hub)
    began = Stopwatch()
    extra = settings(model_hub, tmp_path, STALL_TIMEOUT="600")
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert began.undisturbed < 20
    assert began.seconds < AT_LAST


def test_what_xet_finished_stays_and_is_not_fetched_again(model_hub: Hub, tmp_path: Path) -> None:
    model_hub.faults.add(Stall(), route="xorb", offset=30 * MIB, times=EVER)
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(model_hub, tmp_path, **SOON))
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert model_hub.log.sent("cdn") < XET_BYTES - 8 * MIB


def test_what_http_left_half_way_is_finished_by_xet(model_hub: Hub, tmp_path: Path) -> None:
    model_hub.faults.add(Stall(), route="cdn", offset=25 * MIB, times=EVER)
    extra = settings(model_hub, tmp_path, **SOON, AIM_DOWNLOADER_PROTOCOL="HTTP,XET")
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert model_hub.log.sent("xorb") < XET_BYTES - 16 * MIB


def test_xet_twice_is_tried_twice(model_hub: Hub, tmp_path: Path) -> None:
    model_hub.faults.add(Answer(503), route="cas", times=EVER)
    extra = settings(model_hub, tmp_path, AIM_DOWNLOADER_PROTOCOL="XET,XET,HTTP")
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert "attempt 2 of 3: XET" in result.stderr
    assert "attempt 3 of 3: HTTP" in result.stderr


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        if task.name != str(pid)
        for child in (task / "children").read_text().split()
    ]


def wait_for_child(process: subprocess.Popen[str], hub: Hub, received: int) -> int:
    assert eventually(lambda: hub.log.sent("xorb") >= received)
    return children(process.pid)[0]


def test_a_child_that_is_killed_means_memory_and_the_next_protocol(model_hub: Hub, tmp_path: Path) -> None:
    model_hub.faults.add(Stall(), route="xorb", offset=30 * MIB, times=EVER)
    process = start("download", "hf://org/model", tmp_path / "t", extra=settings(model_hub, tmp_path))
    os.kill(wait_for_child(process, model_hub, 20 * MIB), signal.SIGKILL)
    result = finish(process)
    assert result.status == 0, result.stderr
    assert "memory" in next(line for line in result.stderr.splitlines() if "switching to HTTP" in line)
    assert model(tmp_path / "t") == FILES


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_the_run(model_hub: Hub, tmp_path: Path, signum: signal.Signals) -> None:
    model_hub.faults.add(Stall(), route="xorb", offset=30 * MIB, times=EVER)
    process = start("download", "hf://org/model", tmp_path / "t", extra=settings(model_hub, tmp_path))
    child = wait_for_child(process, model_hub, 20 * MIB)
    process.send_signal(signum)
    finish(process)
    assert eventually(lambda: not Path(f"/proc/{child}").exists())


def test_a_broken_wheel_is_named_and_passed_over(model_hub: Hub, tmp_path: Path) -> None:
    wheel = tmp_path / "lib" / "hf_xet"
    wheel.mkdir(parents=True)
    (wheel / "__init__.py").write_text("raise ImportError('no wheel for this platform')")
    extra = settings(model_hub, tmp_path, PYTHONPATH=str(tmp_path / "lib"))
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert "no wheel for this platform" in result.stderr


def test_settings_of_the_user_win_and_are_told(model_hub: Hub, tmp_path: Path) -> None:
    extra = settings(model_hub, tmp_path, HF_XET_CLIENT_READ_TIMEOUT="7s", HF_XET_HIGH_PERFORMANCE="1")
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert "HF_XET_CLIENT_READ_TIMEOUT=7s" in result.stderr


@pytest.mark.root
def test_a_full_volume_ends_the_run_instead_of_switching(model_hub: Hub, tmp_path: Path) -> None:
    target = tmp_path / "t"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=52m", "none", str(target)], check=True)
    held = Held()
    model_hub.faults.add(held, route="xorb", times=EVER)
    try:
        process = start("download", "hf://org/model", target, extra=settings(model_hub, tmp_path))
        assert eventually(lambda: bool(list(target.glob(".downloading/parts.*/*.part"))))
        (target / "foreign-file").write_bytes(bytes(30 * MIB))
        held.go_on.set()
        result = finish(process)
    finally:
        subprocess.run(["umount", str(target)], check=True)
    assert result.status == 73, result.stderr
    assert "switching" not in result.stderr


def test_the_token_is_not_in_the_process_list(model_hub: Hub, tmp_path: Path) -> None:
    model_hub.tokens["hf_sesame"] = "alice"
    model_hub.faults.add(Stall(), route="xorb", offset=30 * MIB, times=EVER)
    extra = settings(model_hub, tmp_path, HF_TOKEN="hf_sesame")
    process = start("download", "hf://org/model", tmp_path / "t", extra=extra)
    child = wait_for_child(process, model_hub, 20 * MIB)
    seen = Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes()
    process.kill()
    finish(process)
    assert b"hf_sesame" not in seen
    assert environment()["PATH"].encode() in seen
