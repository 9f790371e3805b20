"""Runs without a command line: several at once in one process, each with its own cancellation and reporters."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import TransferProtocol
from downloader.cancellation import Cancellation
from downloader.config import HubSettings, JobSettings, Settings
from downloader.config.addresses import Endpoint
from downloader.errors import Cancelled, DownloadError, SourceNotFound
from downloader.progress import Phase
from downloader.runs.download import Download
from downloader.runs.runner import Runner
from downloader.runs.size import list_artifact
from downloader.runs.verify import verify_volume
from downloader.sources.registry import ArtifactUri
from tests.command import content
from tests.servers.faults import Stall
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.engine import Outcome
    from downloader.progress import Snapshot
    from downloader.runs.ending import Ending
    from tests.servers.hub import Hub

MIB = 1 << 20
FILES = {"config.json": b"{}", "weights/model.bin": bytes(range(256)) * 8 * (MIB >> 8)}


@dataclass
class Seen:
    """A reporter that keeps everything."""

    snapshots: list[Snapshot] = field(default_factory=list)
    final: Snapshot | None = None

    def report(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def close(self, final: Snapshot) -> None:
        self.final = final


class Run:
    """A download in a thread."""

    def __init__(self, uri: str, settings: Settings) -> None:
        self.cancellation = Cancellation()
        self.seen = Seen()
        self.endings: list[Ending] = []
        self.outcome: Outcome | None = None
        self.error: DownloadError | None = None
        runner = Runner(cancellation=self.cancellation)
        self._download = Download(
            ArtifactUri.parse(uri), settings, runner, [self.seen], environment={}, ended=self.endings.append
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._download.run()
        except DownloadError as error:
            self.error = error

    def finish(self) -> None:
        self._thread.join(AT_LAST)
        assert not self._thread.is_alive()


@pytest.fixture
def settings(hub: Hub, tmp_path: Path) -> Settings:
    hub.create("org/model").commit(FILES)
    hub.create("org/other").commit({"other.bin": b"other" * 1000})
    job = JobSettings(target=tmp_path / "one", termination_log=tmp_path / "none")
    return Settings(job=job, hub=HubSettings(endpoint=Endpoint.parse(hub.endpoint), home=tmp_path / "home"))


def to(target: Path, settings: Settings) -> Settings:
    return replace(settings, job=replace(settings.job, target=target))


def test_several_runs_go_on_at_once_in_one_process(settings: Settings, tmp_path: Path) -> None:
    runs = {
        name: Run(f"hf://org/{name.partition('-')[0]}", to(tmp_path / name, settings))
        for name in ("model-1", "model-2", "other-1", "other-2")
    }
    for run in runs.values():
        run.finish()
    assert {name: run.error for name, run in runs.items()} == dict.fromkeys(runs)
    for name, run in runs.items():
        files = set(content(tmp_path / name)) - {".artifact.sha256"}
        assert files == ({*FILES} if name.startswith("model") else {"other.bin"})
        assert run.outcome is not None
        assert {file.path for file in run.outcome.manifest.files} == files
        assert run.seen.final is not None
        assert run.seen.final.phase is Phase.DONE
        assert [ending.error for ending in run.endings] == [None]
        assert run.endings[0].target == tmp_path / name


def test_a_cancellation_ends_its_own_run_and_no_other_one(settings: Settings, hub: Hub, tmp_path: Path) -> None:
    job = replace(settings.job, sequence=(TransferProtocol.HTTP,), stall_timeout=AT_LAST)
    settings = replace(settings, job=job)
    hub.faults.add(Stall(after=MIB), route="cdn", times=1)
    first = Run("hf://org/model", to(tmp_path / "first", settings))
    assert eventually(lambda: any(snapshot.received_bytes >= MIB for snapshot in first.seen.snapshots))
    second = Run("hf://org/other", to(tmp_path / "second", settings))
    first.cancellation.cancel(Cancelled())
    for run in (first, second):
        run.finish()
    assert isinstance(first.error, Cancelled)
    assert first.seen.final is not None
    assert first.seen.final.phase is Phase.FAILED
    assert second.error is None
    assert (tmp_path / "second/other.bin").is_file()


def test_a_failure_is_raised_after_reporters_and_caller_have_been_told(settings: Settings) -> None:
    run = Run("hf://org/missing", settings)
    run.finish()
    assert isinstance(run.error, SourceNotFound)
    assert [ending.error for ending in run.endings] == [run.error]
    assert run.seen.final is not None
    assert run.seen.final.message == str(run.error)


def test_listing_and_verification_need_no_command_line_either(settings: Settings) -> None:
    uri = ArtifactUri.parse("hf://org/model")
    manifest = list_artifact(uri, settings, Runner(), lambda _: None)
    assert {file.path: file.size for file in manifest.files} == {name: len(data) for name, data in FILES.items()}
    Run("hf://org/model", settings).finish()
    found = verify_volume(settings, Runner(), lambda _: None)
    assert (found.checked, list(found.damaged), list(found.unlisted)) == (2, [], [])
