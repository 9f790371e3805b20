"""Each row of docs/exit-status.md for real: one last line that names who or where, says what to do, and no Python."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import PEOPLE, environment, run, start
from tests.contract.test_exit_status import rows
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, Fault, Flip, Stall, web_page
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub
    from tests.servers.web import WebServer

PYTHON = re.compile(
    r"Traceback|\w+(?:Error|Exception)\b|\[Errno|object at 0x|<class|\bNone\b|\b(?:errno|urllib3|httpx|botocore)\b|b'"
)
SOON = {**PEOPLE, "STALL_TIMEOUT": "1.5", "AIM_LOG_FORMAT": "json", "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER,HTTP"}
ELSEWHERE = {
    (1, "NotUnloaded"): "tests/adapters/test_sync.py",
    (65, "SignatureRejected"): "tests/e2e/test_signatures.py",
    (65, "SourceChanged"): "tests/e2e/test_changing_sources.py",
    (69, "ConnectionBroken"): "tests/sources/test_retry.py",
    (69, "SourceSilent"): "tests/e2e/test_stalls.py",
    (69, "ProtocolFailed"): "tests/faults/test_untold_sizes.py",
    (69, "ProtocolDown"): "tests/faults/test_xet.py",
    (69, "RangeIgnored"): "tests/faults/test_web_servers.py",
    (70, "InternalError"): "tests/e2e/test_early_ends.py",
    (73, "NoSpace"): "tests/e2e/test_full_volumes.py",
    (75, "LeaseLost"): "tests/e2e/test_dry_run.py",
    (78, "ProtocolUntrusted"): "tests/faults/test_xet.py",
}
"""Rows that take more to produce, and the tests that do. A new row needs a case here or there."""


@dataclass
class Scene:
    """What a case has to play with."""

    hub: Hub
    web: WebServer
    own_web: BrokenWeb
    folder: Path

    def hub_run(self, *options: str, fault: Fault | None = None, uri: str = "hf://org/model", **extra: str) -> Line:
        if fault is not None:
            self.hub.faults.add(fault, route="cdn", times=FOREVER)
        return line_of(run("download", uri, self.folder / "t", *options, extra=self.extra | extra))

    @property
    def extra(self) -> dict[str, str]:
        return {**SOON, "HF_ENDPOINT": self.hub.endpoint}

    @property
    def cdn(self) -> str:
        return f"127.0.0.1:{self.hub.cdn.server.port}"

    def cancelled(self, signum: int) -> Line:
        self.hub.faults.add(Stall(after=0), route="cdn", times=FOREVER)
        process = start("download", "hf://org/model", self.folder / "t", extra=self.extra | {"STALL_TIMEOUT": "600"})
        assert eventually(lambda: bool(self.hub.log.records("cdn")))
        process.send_signal(signum)
        stdout, stderr = process.communicate(timeout=60)
        return Line(process.returncode, stderr.splitlines()[-1], stdout + stderr)

    def to_a_full_device(self) -> Line:
        command = [sys.executable, "-m", "downloader", "size", "hf://org/model"]
        with Path("/dev/full").open("w", encoding="ascii") as full:
            result = subprocess.run(
                command, env=environment(self.extra), stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        return Line(result.returncode, result.stderr.splitlines()[-1], result.stderr)


@dataclass
class Line:
    """How a run ended."""

    status: int
    last: str
    log: str


def line_of(result: object) -> Line:
    status, stderr, last = result.status, result.stderr, result.last_line  # type: ignore[attr-defined]
    return Line(status, last, stderr)


Case = tuple[Callable[[Scene], Line], Callable[[Scene], str]]
CASES: dict[tuple[int, str], list[Case]] = {
    (64, "UsageError"): [(lambda scene: scene.hub_run(uri="gs://bucket/model"), lambda _: "gs")],
    (65, "IntegrityError"): [
        (lambda scene: scene.hub_run(fault=Flip(after=1 << 20)), lambda _: "a.bin"),
        (lambda scene: line_of(run("verify", scene.folder, extra=SOON)), lambda scene: str(scene.folder)),
    ],
    (65, "UnexpectedContent"): [(lambda scene: web_run(scene, web_page()), lambda _: "model.bin")],
    (65, "UnexpectedArtifact"): [
        (lambda scene: scene.hub_run("--expect-digest", f"sha256:{'0' * 64}"), lambda _: "org/model")
    ],
    (66, "SourceNotFound"): [
        (lambda scene: scene.hub_run(uri="hf://org/nothing"), lambda _: "org/nothing"),
        (lambda scene: scene.hub_run("--include", "*.gguf"), lambda _: "org/model"),
    ],
    (69, "SourceUnavailable"): [(lambda scene: scene.hub_run(fault=Answer(500)), lambda scene: scene.cdn)],
    (69, "Throttled"): [(lambda scene: scene.hub_run(fault=Answer(429)), lambda scene: scene.cdn)],
    (69, "UnknownHost"): [
        (lambda scene: scene.hub_run(uri="https://nowhere.invalid/model.bin"), lambda _: "nowhere.invalid")
    ],
    (74, "VolumeError"): [
        (
            lambda scene: line_of(run("verify", scene.folder / "nothing", extra=SOON)),
            lambda scene: str(scene.folder / "nothing"),
        )
    ],
    (74, "OutputError"): [(lambda scene: scene.to_a_full_device(), lambda _: "standard output")],
    (75, "Stalled"): [(lambda scene: scene.hub_run(fault=Stall(after=0)), lambda scene: scene.cdn)],
    (77, "AccessDenied"): [(lambda scene: scene.hub_run(uri="hf://org/gated"), lambda _: "org/gated")],
    (78, "ConfigurationError"): [(lambda scene: scene.hub_run(AIM_CONNECTIONS="many"), lambda _: "AIM_CONNECTIONS")],
    (78, "UntrustedServer"): [
        (
            lambda scene: scene.hub_run(uri=f"{scene.web.secure_url}/model.bin"),
            lambda scene: scene.web.secure_url.removeprefix("https://"),
        )
    ],
    (130, "Cancelled"): [(lambda scene: scene.cancelled(signal.SIGINT), lambda _: "SIGINT")],
    (143, "Cancelled"): [(lambda scene: scene.cancelled(signal.SIGTERM), lambda _: "SIGTERM")],
}


def web_run(scene: Scene, fault: Fault) -> Line:
    scene.own_web.faults.add(fault, times=FOREVER)
    return line_of(run("download", scene.own_web.url("model.bin"), scene.folder / "t", extra=SOON))


def test_each_row_of_the_page_has_a_case() -> None:
    assert {(row.status, row.kind) for row in rows()[1:]} == CASES.keys() | ELSEWHERE.keys()
    assert all(CASES.values())
    for file in ELSEWHERE.values():
        assert Path(file).is_file()


EACH = [(row, number) for row, cases in CASES.items() for number in range(len(cases))]


@pytest.mark.parametrize(("row", "number"), EACH, ids=str)
def test_a_failure_is_told_in_words(  # noqa: PLR0917
    row: tuple[int, str], number: int, hub: Hub, web: WebServer, own_web: BrokenWeb, tmp_path: Path
) -> None:
    hub.create("org/model").commit({"a.bin": Noise(9 << 20, seed=8)})
    hub.create("org/gated", gated=True, members={"alice"}).commit({"a.bin": Noise(9 << 20, seed=8)})
    scene = Scene(hub, web, own_web, tmp_path)
    play, where = CASES[row][number]
    ended = play(scene)
    assert ended.status == row[0], ended.log
    record = json.loads(ended.last)
    assert (record["exit_status"], record["error"]) == row
    message = record["message"]
    assert message.startswith("failed: ")
    assert where(scene) in message, message
    assert re.search(r" \([^()]*(?:\([^()]*\)[^()]*)*\)$", message), f"no remedy: {message}"
    assert not PYTHON.search(message), message
    assert "Traceback" not in ended.log
