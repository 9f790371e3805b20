"""A run asks the source for its version, and lists it unless the volume is sealed as just that."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from downloader.artifact import TransferProtocol
from downloader.cancellation import Cancellation
from downloader.engine import Engine, Outcome, Plan, only_routes
from downloader.errors import IntegrityError, SourceNotFound
from downloader.filters import FileFilter
from downloader.integrity.checksum_file import MARKER
from downloader.progress import Phase, ProgressMeter, StallWatchdog
from downloader.sources.concurrency import ConcurrencyController
from downloader.transfer.ranged import Ranged
from downloader.volume import Volume
from tests.command import model
from tests.transfer.harness import CONFIG, Memory
from tests.volume.artifacts import bring, noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from downloader.artifact import Manifest
    from downloader.errors import DownloadError

FILES = {"config.json": b"{}", "empty": b"", "folder/model.bin": noise(200_000)}
EVERYTHING = FileFilter()


class Versioned(Memory):
    """A source in memory that says of which version it is, and counts what it is asked for."""

    def __init__(self, files: Mapping[str, bytes] = FILES, name: str | None = "v1") -> None:
        super().__init__(files)
        self.name = name
        self.error: DownloadError | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        self.digests = True
        self.asked: list[str] = []

    def version(self) -> str | None:  # type: ignore[override]
        self.asked.append("version")
        if self.error:
            raise self.error
        self.meanwhile()
        return self.name

    def manifest(self) -> Manifest:
        self.asked.append("manifest")
        found = super().manifest()
        files = found.files if self.digests else tuple(replace(file, digests=()) for file in found.files)
        return replace(found, files=files, version=self.name)


class Run:
    """One run of the engine."""

    def __init__(
        self,
        target: Path,
        source: Versioned,
        file_filter: FileFilter = EVERYTHING,
        *,
        require_digest: bool = False,
        waiting: Callable[[], object] = lambda: None,
    ) -> None:
        """`waiting` is what happens while this run waits for the lease."""
        self.source = source
        self._waiting = waiting
        self.meter = ProgressMeter()
        self.leases = 0
        source.asked.clear()
        source.served = 0
        with Volume(target) as volume:
            self.volume = volume
            engine = Engine(
                source,
                volume,
                only_routes((TransferProtocol.HTTP,), self._transport, 5),
                Plan(file_filter, require_digest=require_digest),
                meter=self.meter,
                watchdog=StallWatchdog(self.meter, 5),
                cancellation=Cancellation(),
                lease=self._lease,
            )
            self.outcome: Outcome = engine.run()

    @contextmanager
    def _lease(self, **more: Any) -> Iterator[None]:
        self._waiting()
        with self.volume.lease("hf://org/model", **more):
            yield

    def _transport(self, _protocol: TransferProtocol, attempt: Cancellation) -> Ranged:
        concurrency = ConcurrencyController(attempt, self.meter.clock)
        return Ranged(self.source, self.meter, attempt, CONFIG, concurrency)

    @property
    def facts(self) -> tuple[object, ...]:
        """What reporters and callers see."""
        last = self.meter.snapshot()
        files = [(file.path, file.size, file.digests) for file in self.outcome.manifest.files]
        return self.outcome.checksums, self.outcome.proofs, files, replace(last, eta=None)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A volume that a run has finished with."""
    assert Run(tmp_path, Versioned()).source.asked == ["version", "manifest"]
    return tmp_path


def unseal(target: Path) -> None:
    """Leave the list as one from before there were seals, with its date."""
    marker = target / MARKER
    before = marker.stat()
    lines = marker.read_text().splitlines(keepends=True)
    marker.write_text("".join(line for line in lines if not line.startswith("# seal: ")))
    os.utime(marker, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_rerun_asks_for_the_version_alone_and_ends_as_one_that_lists_everything(finished: Path) -> None:
    run = Run(finished, Versioned())
    assert run.source.asked == ["version"]
    assert run.meter.snapshot().phase is Phase.DONE
    assert (run.meter.snapshot().percentage, run.meter.snapshot().done_files) == (100, len(FILES))
    unseal(finished)
    listed = Run(finished, Versioned())
    assert listed.source.asked == ["version", "manifest"]
    assert run.facts == listed.facts


def test_an_unfinished_volume_is_finished_and_known_from_then_on(tmp_path: Path) -> None:
    def refuse(path: str) -> None:
        if path == "folder/model.bin":
            raise SourceNotFound("it is gone")

    source = Versioned()
    source.refuse = refuse
    with pytest.raises(SourceNotFound):
        Run(tmp_path, source)
    assert Run(tmp_path, Versioned()).source.asked == ["version", "manifest"]
    assert model(tmp_path) == FILES
    assert Run(tmp_path, Versioned()).source.asked == ["version"]


@pytest.mark.parametrize("earlier", [False, True])
def test_a_run_that_waited_for_a_newer_one_does_not_set_the_volume_back(tmp_path: Path, *, earlier: bool) -> None:
    newer = FILES | {"config.json": b'{"new": true}'}
    if earlier:
        Run(tmp_path, Versioned(FILES | {"config.json": b"[]"}, name="v0"))
    source = Versioned()

    def publish_newer() -> None:
        published = Versioned(newer, name="v2")
        Run(tmp_path, published)
        source.contents, source.files, source.name = published.contents, published.files, published.name

    run = Run(tmp_path, source, waiting=publish_newer)
    assert run.outcome.manifest.version == "v2"
    assert (model(tmp_path), source.served) == (newer, 0)
    assert Run(tmp_path, Versioned(newer, name="v2")).source.asked == ["version"]


def test_a_run_that_waited_for_one_that_did_not_finish_goes_on_with_what_it_has_listed(finished: Path) -> None:
    run = Run(finished, Versioned(FILES | {"config.json": b"[1]"}, name="v2"), waiting=lambda: None)
    assert run.source.asked == ["version", "manifest"]


def test_what_changes_while_the_source_is_asked_is_noticed(finished: Path) -> None:
    source = Versioned()
    source.meanwhile = (finished / "config.json").unlink
    run = Run(finished, source)
    assert run.source.served == len(FILES["config.json"])
    assert model(finished) == FILES


def test_a_rerun_writes_nothing_and_needs_no_lease(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert Run(finished, Versioned()).source.asked == ["version"]
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_a_source_without_versions_is_listed_every_time(tmp_path: Path) -> None:
    for _ in range(2):
        assert Run(tmp_path, Versioned(name=None)).source.asked == ["version", "manifest"]


def test_a_source_that_has_lost_its_versions_is_listed(finished: Path) -> None:
    assert Run(finished, Versioned(name=None)).source.asked == ["version", "manifest"]


def test_a_new_version_costs_what_it_changed_and_is_known_from_then_on(finished: Path) -> None:
    newer = FILES | {"config.json": b'{"a": 2}', "more": b"more"}
    run = Run(finished, Versioned(newer, "v2"))
    assert run.source.asked == ["version", "manifest"]
    assert run.source.served == len(newer["config.json"] + newer["more"])
    assert model(finished) == newer
    assert Run(finished, Versioned(newer, "v2")).source.asked == ["version"]


def test_what_has_no_known_proof_is_hashed_where_a_digest_is_required(tmp_path: Path) -> None:
    """A run that was killed or an older program brought the files, and has not written down what proved them."""
    manifest = Versioned().manifest()
    with Volume(tmp_path) as volume, volume.lease(manifest.uri):
        bring(volume, manifest, FILES)
        assert {entry.proof for entry in volume.inventory(manifest).entries} == {"unknown"}
    run = Run(tmp_path, Versioned(), require_digest=True)
    assert run.outcome.proofs == dict.fromkeys(FILES, "sha256")
    assert run.source.served == 0
    assert Run(tmp_path, Versioned(), require_digest=True).source.asked == ["version"]


def test_what_the_source_says_instead_of_a_version_ends_the_run(finished: Path) -> None:
    source = Versioned()
    source.error = SourceNotFound("the bucket is gone")
    with pytest.raises(SourceNotFound, match="the bucket is gone"):
        Run(finished, source)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (EVERYTHING, FileFilter(("*.json",))),
        (FileFilter(("*.json",)), EVERYTHING),
        (FileFilter(("*.json",)), FileFilter((), ("folder/*",))),
        (EVERYTHING, FileFilter(("*",))),
    ],
)
def test_other_filters_are_another_artifact(tmp_path: Path, first: FileFilter, then: FileFilter) -> None:
    Run(tmp_path, Versioned(), first)
    assert Run(tmp_path, Versioned(), first).source.asked == ["version"]
    again = Run(tmp_path, Versioned(), then)
    assert again.source.asked == ["version", "manifest"]
    assert again.outcome.checksums.keys() == {path for path in FILES if then.wants(path)}


def truncate(target: Path) -> None:
    path = target / "folder/model.bin"
    before = path.stat()
    os.truncate(path, 1000)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rewrite(target: Path) -> None:
    (target / "folder/model.bin").write_bytes(noise(200_000, seed=9))


DAMAGES: dict[str, tuple[Callable[[Path], object], int]] = {
    "truncated, with its old date": (truncate, 200_000),
    "other bytes": (rewrite, 200_000),
    "removed": (lambda target: (target / "config.json").unlink(), 2),
    "a list that is gone": (lambda target: (target / MARKER).unlink(), 0),
    "dated later": (lambda target: os.utime(target / "config.json"), 0),
}


@pytest.mark.parametrize(("damage", "fetched"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_mended_and_the_artifact_known_from_then_on(
    finished: Path, damage: Callable[[Path], object], fetched: int
) -> None:
    damage(finished)
    run = Run(finished, Versioned())
    assert (run.source.asked, run.source.served) == (["version", "manifest"], fetched)
    assert model(finished) == FILES
    assert Run(finished, Versioned()).source.asked == ["version"]


def test_where_a_digest_is_required_a_version_does_not_replace_it(tmp_path: Path) -> None:
    source = Versioned()
    source.digests = False
    Run(tmp_path, source)
    assert Run(tmp_path, source).source.asked == ["version"]
    with pytest.raises(IntegrityError, match="not proved by a digest"):
        Run(tmp_path, source, require_digest=True)
    assert source.asked == ["version", "manifest"]


def test_a_required_digest_that_is_on_record_is_enough(finished: Path) -> None:
    assert Run(finished, Versioned(), require_digest=True).source.asked == ["version"]
