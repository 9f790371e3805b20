"""Each row of docs/exit-status.md for real: one last line that names who or where, says what to do, and no Python."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import PEOPLE, STALL_TIMEOUTS, WITH_DEFAULT_SIGHUP, environment, finish, run, start
from tests.contract.test_exit_status import rows
from tests.faults.test_untold_sizes import Untold
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, Fault, Flip, HangUp, IgnoreRange, Silence, Stall, web_page
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub
    from tests.servers.web import WebServer

PYTHON = re.compile(
    r"Traceback|\w+(?:Error|Exception)\b|\[Errno|object at 0x|<class|\bNone\b|\b(?:errno|urllib3|httpx|botocore)\b|b'"
)
SETTINGS = {**PEOPLE, "AIM_LOG_FORMAT": "json", "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER,HTTP"}
ELSEWHERE = {
    (65, "SignatureRejected"): "tests/e2e/test_signatures.py",
    (65, "UnsafeFormat"): "tests/e2e/test_formats.py",
    (65, "SourceChanged"): "tests/e2e/test_changing_sources.py",
}
"""Rows that take more to produce, and the tests that do. A new row needs a case here or there."""
MISSING = "downloader.runs.size"
INCOMPLETE = f"""
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "{MISSING}":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
"""
"""An installation in which one module is missing."""
UNLIMITED = """
from downloader import deadlines
deadlines.DOCTOR_LIMIT = 600.0
"""
"""A doctor whose checks may take as long as a run may be silent: it asks for head and body, each a quarter of it."""


@dataclass
class Scene:
    """What a case has to play with."""

    hub: Hub
    web: WebServer
    own_web: BrokenWeb
    folder: Path
    stall_timeout: float

    def hub_run(self, *options: str, fault: Fault | None = None, uri: str = "hf://org/model", **extra: str) -> Line:
        if fault is not None:
            self.hub.faults.add(fault, route="cdn", times=FOREVER)
        return line_of(run("download", uri, self.folder / "t", *options, extra=self.extra | extra))

    @property
    def extra(self) -> dict[str, str]:
        return {**self.soon, "HF_ENDPOINT": self.hub.endpoint}

    @property
    def soon(self) -> dict[str, str]:
        return {**SETTINGS, "STALL_TIMEOUT": str(self.stall_timeout)}

    @property
    def cdn(self) -> str:
        return f"127.0.0.1:{self.hub.cdn.server.port}"

    def web_run(self, fault: Fault, *options: str, command: str = "download", **extra: str) -> Line:
        self.own_web.faults.add(fault, times=FOREVER)
        target = [self.folder / "t"] if command == "download" else []
        return line_of(run(command, self.own_web.url("model.bin"), *target, *options, extra=self.soon | extra))

    @property
    def own(self) -> str:
        return self.own_web.url("").removeprefix("http://").rstrip("/")

    def silent(self) -> Line:
        """A run that meets nothing else stalls; `doctor` says what it met."""
        return self.web_run(Silence(), command="doctor", **self.changed(UNLIMITED))

    def incomplete(self) -> Line:
        return line_of(run("size", "hf://org/model", extra=self.extra | self.changed(INCOMPLETE)))

    def changed(self, code: str) -> dict[str, str]:
        """Return what lets Python execute this first."""
        (self.folder / "sitecustomize.py").write_text(code)
        return {"PYTHONPATH": str(self.folder)}

    def held(self) -> Line:
        """Another process works on the volume."""
        self.hub.faults.add(Stall(after=0), route="cdn", times=FOREVER)
        lasting = {"STALL_TIMEOUT": "600", "AIM_LEASE_TTL": "3"}
        process = start("download", "hf://org/model", self.folder / "t", extra=self.extra | lasting)
        assert eventually(lambda: bool(self.hub.log.records("cdn")))
        ended = self.hub_run("--dry-run", AIM_LEASE_TTL="3")
        process.kill()
        finish(process)
        return ended

    def full(self) -> Line:
        with mounted(self.folder, "size=4m"):
            return self.hub_run()

    def still_served(self) -> Line:
        """The folder of an adapter is a mount point, which cannot be moved."""
        adapter = self.folder / "service" / "served"
        adapter.mkdir(parents=True)
        names = {"ADAPTER_PVC_ROOT": str(self.folder), "SERVICE_ID": "service", "KEEP_ADAPTER_PATHS": ""}
        with mounted(adapter, "size=1m"):
            return line_of(run("adapter-sync", extra=self.soon | names))

    def no_xet(self) -> Line:
        self.hub.faults.add(Answer(404), route="token", times=FOREVER)
        return self.hub_run("--protocol", "XET")

    def untrusted_xet(self) -> Line:
        token = {"casUrl": self.web.secure_url, "accessToken": "token", "exp": 1 << 33}
        self.hub.faults.add(Answer(200, {}, json.dumps(token).encode()), route="token", times=FOREVER)
        return self.hub_run("--protocol", "XET")

    def cancelled(self, signum: int) -> Line:
        self.hub.faults.add(Stall(after=0), route="cdn", times=FOREVER)
        extra = self.extra | {"STALL_TIMEOUT": "600"}
        process = start("download", "hf://org/model", self.folder / "t", extra=extra, through=WITH_DEFAULT_SIGHUP)
        assert eventually(lambda: bool(self.hub.log.records("cdn")))
        process.send_signal(signum)
        return line_of(finish(process))

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


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small volume in the place of a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def line_of(result: object) -> Line:
    status, stderr, last = result.status, result.stderr, result.last_line  # type: ignore[attr-defined]
    return Line(status, last, stderr)


Case = tuple[Callable[[Scene], Line], Callable[[Scene], str]]
SENTENCE = "the shelf of this bucket is being rebuilt"
"""What a server says of itself."""
AS_ROOT = {(1, "NotUnloaded"), (73, "NoSpace")}
"""Their cases mount a volume."""
CASES: dict[tuple[int, str], list[Case]] = {
    (1, "NotUnloaded"): [(lambda scene: scene.still_served(), lambda _: "served")],
    (64, "UsageError"): [(lambda scene: scene.hub_run(uri="gs://bucket/model"), lambda _: "gs")],
    (65, "IntegrityError"): [
        (lambda scene: scene.hub_run(fault=Flip(after=1 << 20)), lambda _: "a.bin"),
        (lambda scene: line_of(run("verify", scene.folder, extra=scene.soon)), lambda scene: str(scene.folder)),
    ],
    (65, "UnexpectedContent"): [(lambda scene: scene.web_run(web_page()), lambda _: "model.bin")],
    (65, "UnexpectedArtifact"): [
        (lambda scene: scene.hub_run("--expect-digest", f"sha256:{'0' * 64}"), lambda _: "org/model")
    ],
    (66, "SourceNotFound"): [
        (lambda scene: scene.hub_run(uri="hf://org/nothing"), lambda _: "org/nothing"),
        (lambda scene: scene.hub_run("--include", "*.gguf"), lambda _: "org/model"),
    ],
    (69, "SourceUnavailable"): [
        (lambda scene: scene.hub_run(fault=Answer(500)), lambda scene: scene.cdn),
        (lambda scene: scene.hub_run(fault=Answer(500, {}, f"{SENTENCE}\n".encode())), lambda _: SENTENCE),
    ],
    (69, "ConnectionBroken"): [(lambda scene: scene.hub_run(fault=HangUp()), lambda scene: scene.cdn)],
    (69, "SourceSilent"): [(lambda scene: scene.silent(), lambda scene: scene.own)],
    (69, "ProtocolFailed"): [(lambda scene: scene.web_run(Untold(), command="size"), lambda scene: scene.own)],
    (69, "ProtocolDown"): [(lambda scene: scene.no_xet(), lambda scene: scene.hub.endpoint.removeprefix("http://"))],
    (69, "RangeIgnored"): [
        (lambda scene: scene.web_run(IgnoreRange(), "--protocol", "RANGES"), lambda scene: scene.own)
    ],
    (70, "InternalError"): [(lambda scene: scene.incomplete(), lambda _: MISSING)],
    (73, "NoSpace"): [(lambda scene: scene.full(), lambda scene: str(scene.folder))],
    (69, "Throttled"): [(lambda scene: scene.hub_run(fault=Answer(429)), lambda scene: scene.cdn)],
    (69, "UnknownHost"): [
        (lambda scene: scene.hub_run(uri="https://nowhere.invalid/model.bin"), lambda _: "nowhere.invalid")
    ],
    (74, "VolumeError"): [
        (
            lambda scene: line_of(run("verify", scene.folder / "nothing", extra=scene.soon)),
            lambda scene: str(scene.folder / "nothing"),
        )
    ],
    (74, "OutputError"): [(lambda scene: scene.to_a_full_device(), lambda _: "standard output")],
    (75, "Stalled"): [(lambda scene: scene.hub_run(fault=Stall(after=0)), lambda scene: scene.cdn)],
    (75, "LeaseLost"): [(lambda scene: scene.held(), lambda scene: str(scene.folder / "t"))],
    (77, "AccessDenied"): [(lambda scene: scene.hub_run(uri="hf://org/gated"), lambda _: "org/gated")],
    (78, "ConfigurationError"): [(lambda scene: scene.hub_run(AIM_CONNECTIONS="many"), lambda _: "AIM_CONNECTIONS")],
    (78, "ProtocolUntrusted"): [
        (lambda scene: scene.untrusted_xet(), lambda scene: scene.web.secure_url.removeprefix("https://"))
    ],
    (78, "UntrustedServer"): [
        (
            lambda scene: scene.hub_run(uri=f"{scene.web.secure_url}/model.bin"),
            lambda scene: scene.web.secure_url.removeprefix("https://"),
        )
    ],
    (129, "Cancelled"): [(lambda scene: scene.cancelled(signal.SIGHUP), lambda _: "SIGHUP")],
    (130, "Cancelled"): [(lambda scene: scene.cancelled(signal.SIGINT), lambda _: "SIGINT")],
    (143, "Cancelled"): [(lambda scene: scene.cancelled(signal.SIGTERM), lambda _: "SIGTERM")],
}


def test_each_row_of_the_page_has_a_case() -> None:
    assert {(row.status, row.kind) for row in rows()[1:]} == CASES.keys() | ELSEWHERE.keys()
    assert all(CASES.values())
    for file in ELSEWHERE.values():
        assert Path(file).is_file()


EACH = [
    pytest.param(row, number, marks=[pytest.mark.root] if row in AS_ROOT else [])
    for row, cases in CASES.items()
    for number in range(len(cases))
]


@pytest.mark.parametrize(("row", "number"), EACH)
def test_a_failure_is_told_in_words(  # noqa: PLR0917
    row: tuple[int, str], number: int, hub: Hub, web: WebServer, own_web: BrokenWeb, tmp_path: Path
) -> None:
    hub.create("org/model").commit({"a.bin": Noise(9 << 20, seed=8)})
    hub.create("org/gated", gated=True, members={"alice"}).commit({"a.bin": Noise(9 << 20, seed=8)})
    own_web.put("model.bin", Noise(9 << 20, seed=8).bytes())
    play, where = CASES[row][number]
    for stall_timeout in STALL_TIMEOUTS:
        folder = tmp_path / str(stall_timeout)
        folder.mkdir()
        scene = Scene(hub, web, own_web, folder, stall_timeout)
        ended = play(scene)
        record = json.loads(ended.last)
        message = record["message"]
        if (record["exit_status"], record["error"]) == row and where(scene) in message:
            break
    assert ended.status == row[0], ended.log
    assert (record["exit_status"], record["error"]) == row
    assert message.startswith("failed: ")
    assert where(scene) in message, message
    assert re.search(r" \([^()]*(?:\([^()]*\)[^()]*)*\)$", message), f"no remedy: {message}"
    assert not PYTHON.search(message), message
    assert "Traceback" not in ended.log
