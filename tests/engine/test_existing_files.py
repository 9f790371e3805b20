"""What else is in the target is never replaced in silence, and another artifact's files not without the user's word."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Manifest, TransferProtocol
from downloader.cancellation import Cancellation
from downloader.engine import Engine, Outcome, Plan, only_routes
from downloader.errors import NoSpace, VolumeError
from downloader.filesystem.local import Disk
from downloader.filters import FileFilter
from downloader.progress import ProgressMeter, StallWatchdog
from downloader.sources.concurrency import ConcurrencyController
from downloader.transfer.ranged import Ranged
from downloader.volume import Volume
from tests.command import model
from tests.transfer.harness import CONFIG, Memory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from downloader.filesystem.interface import FileOperations, Space

FILES = {"config.json": b"{}", "q4.gguf": b"4" * 4000, "q8.gguf": b"8" * 8000}
NEWER = {"config.json": b'{"a": 1}', "q4.gguf": FILES["q4.gguf"], "q8-00001-of-00001.gguf": b"9" * 9000}
OTHER = {"config.json": b"[]", "other.gguf": b"o" * 1000, "q4.gguf": FILES["q4.gguf"]}


class Repository(Memory):
    """A repository in memory, at a revision."""

    def __init__(
        self, files: Mapping[str, bytes], revision: str | None = "c1", whole: str = "hf://org/model", below: str = ""
    ) -> None:
        super().__init__(files)
        self.whole, self.revision, self.below = whole, revision, below

    def manifest(self) -> Manifest:
        uri = f"{self.whole}@{self.revision}/{self.below}"
        files = tuple(file for file in self.files if file.path.startswith(self.below))
        return Manifest(uri, files, self.revision, version=self.revision, whole=self.whole, below=self.below)


def run(
    target: Path,
    source: Repository,
    *globs: str,
    replace: bool = False,
    prune: bool = False,
    make_room: bool = False,
    files: FileOperations | None = None,
) -> Outcome:
    meter = ProgressMeter()
    with Volume(target, files=files) as volume:
        engine = Engine(
            source,
            volume,
            only_routes(
                (TransferProtocol.HTTP,),
                lambda _, attempt: Ranged(source, meter, attempt, CONFIG, ConcurrencyController(attempt, meter.clock)),
                5,
            ),
            Plan(FileFilter(globs), replace=replace, prune=prune, make_room=make_room),
            meter=meter,
            watchdog=StallWatchdog(meter, 5),
            cancellation=Cancellation(),
            lease=partial(volume.lease, "hf://org/model"),
        )
        return engine.run()


def listed(target: Path) -> set[str]:
    """Return the files that `verify` finds right."""
    with Volume(target) as volume:
        found = volume.verify()
    assert (found.damaged, found.unlisted) == ((), ())
    return set(found.proofs)


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    texts = [record.getMessage() for record in caplog.records if record.levelno == level]
    caplog.clear()
    return texts


def test_another_quantisation_is_added_to_the_list(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, Repository(FILES), "q4*")
    run(tmp_path, Repository(FILES), "q8*")
    assert listed(tmp_path) == {"q4.gguf", "q8.gguf"}
    again = Repository(FILES)
    assert run(tmp_path, again, "q4*").checksums.keys() == {"q4.gguf"}
    assert again.served == 0
    assert listed(tmp_path) == {"q4.gguf", "q8.gguf"}
    assert said(caplog, logging.WARNING) == []


def test_a_newer_revision_replaces_what_it_changed_and_names_what_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run(tmp_path, Repository(FILES))
    caplog.clear()
    run(tmp_path, Repository(NEWER, "c2"))
    assert model(tmp_path) == FILES | NEWER
    assert listed(tmp_path) == {*FILES, *NEWER}
    texts = [record.getMessage() for record in caplog.records]
    assert "replacing 1 file of an earlier download: config.json" in texts
    (text,) = said(caplog, logging.WARNING)
    assert text.startswith("still here, though the artifact no longer has it (--prune removes it): ")
    assert text.endswith("1 file of hf://org/model at revision c1: q8.gguf")
    again = Repository(NEWER, "c2")
    run(tmp_path, again)
    assert again.served == 0


def test_what_only_an_older_revision_had_is_removed_once_the_newer_one_is_complete(tmp_path: Path) -> None:
    run(tmp_path, Repository(FILES))
    (tmp_path / "notes.txt").write_text("mine")
    run(tmp_path, Repository(NEWER, "c2"), replace=True)
    assert model(tmp_path) == NEWER | {"notes.txt": b"mine"}


def test_pruning_removes_what_only_an_older_revision_had_and_nothing_of_others(tmp_path: Path) -> None:
    run(tmp_path, Repository(FILES | {"onnx/deep/model.onnx": b"onnx"}))
    run(tmp_path, Repository({"other.gguf": b"other"}, "d1", "hf://org/other"))
    (tmp_path / "notes.txt").write_text("mine")
    run(tmp_path, Repository(NEWER, "c2"), prune=True)
    assert model(tmp_path) == NEWER | {"other.gguf": b"other", "notes.txt": b"mine"}
    (tmp_path / "notes.txt").unlink()
    assert listed(tmp_path) == {*NEWER, "other.gguf"}
    assert not (tmp_path / "onnx").exists()
    with pytest.raises(VolumeError, match=r"holds hf://org/model"):
        run(tmp_path, Repository(OTHER, "d1", "hf://org/other"), prune=True)


def test_what_an_earlier_run_has_left_is_pruned_by_a_later_one_that_fetches_nothing(tmp_path: Path) -> None:
    run(tmp_path, Repository(FILES))
    run(tmp_path, Repository(NEWER, "c2"))
    assert model(tmp_path) == FILES | NEWER
    for _ in range(2):
        again = Repository(NEWER, "c2")
        run(tmp_path, again, prune=True)
        assert again.served == 0
        assert model(tmp_path) == NEWER
        assert listed(tmp_path) == set(NEWER)


def test_files_that_other_filters_have_chosen_are_not_pruned(tmp_path: Path) -> None:
    run(tmp_path, Repository(FILES), "q4*")
    run(tmp_path, Repository(NEWER, "c2"), "q8*", prune=True)
    assert listed(tmp_path) == {"q4.gguf", "q8-00001-of-00001.gguf"}


def test_what_the_user_has_changed_since_is_not_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, Repository(FILES))
    (tmp_path / "q8.gguf").write_bytes(b"mine now")
    run(tmp_path, Repository(NEWER, "c2"), prune=True)
    assert model(tmp_path) == NEWER | {"q8.gguf": b"mine now"}
    assert any("q8.gguf" in text for text in said(caplog, logging.WARNING))


def test_another_artifact_that_would_break_the_first_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    run(tmp_path, Repository(FILES))
    other = Repository(OTHER, "d1", "hf://org/other")
    with pytest.raises(
        VolumeError, match=r"holds hf://org/model, and .* would replace 1 file of it: config\.json"
    ) as e:
        run(tmp_path, other)
    assert "--replace" in e.value.hint
    assert other.served == 0
    assert model(tmp_path) == FILES
    assert listed(tmp_path) == set(FILES)
    run(tmp_path, other, replace=True)
    assert model(tmp_path) == FILES | OTHER
    assert listed(tmp_path) == {*FILES, *OTHER}


def test_another_artifact_that_shares_no_name_is_added_to_the_list(tmp_path: Path) -> None:
    run(tmp_path, Repository(FILES))
    run(tmp_path, Repository({"more.bin": b"more"}, "d1", "hf://org/other"))
    assert listed(tmp_path) == {*FILES, "more.bin"}
    for source in (Repository(FILES), Repository({"more.bin": b"more"}, "d1", "hf://org/other")):
        run(tmp_path, source)
        assert source.served == 0


def test_files_that_other_programs_put_there_are_named_before_they_are_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config.json").write_bytes(b'{"torch_dtype": "mine"}')
    (tmp_path / "q4.gguf").write_bytes(FILES["q4.gguf"])
    run(tmp_path, Repository(FILES))
    assert said(caplog, logging.WARNING) == ["replacing 1 file that other programs have put here: config.json"]


def test_earlier_files_that_were_changed_are_listed_no_more_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, Repository(FILES), "q4*")
    (tmp_path / "q4.gguf").write_bytes(b"mine now")
    run(tmp_path, Repository(FILES), "q8*")
    assert any("q4.gguf" in text for text in said(caplog, logging.WARNING))
    with Volume(tmp_path) as volume:
        assert volume.verify().unlisted == ("q4.gguf",)


def test_a_file_that_was_asked_for_by_itself_is_added_and_another_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As with `hf://org/model/q4.gguf` and then another quantisation, of a newer commit."""
    run(tmp_path, Repository(FILES, below="q4.gguf"))
    run(tmp_path, Repository(FILES, "c2", below="q8.gguf"), replace=True)
    assert listed(tmp_path) == {"q4.gguf", "q8.gguf"}
    assert said(caplog, logging.WARNING) == []


def test_what_a_source_without_revisions_no_longer_has_is_named_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, Repository(FILES, None, "s3://bucket/m/"))
    fewer = {path: data for path, data in FILES.items() if path != "q8.gguf"}
    run(tmp_path, Repository(fewer | {"config.json": b"[]"}, None, "s3://bucket/m/"))
    assert any("1 file of s3://bucket/m/: q8.gguf" in text for text in said(caplog, logging.WARNING))
    assert listed(tmp_path) == set(FILES)


class Small(Disk):
    """A disk with room for one revision and a little more."""

    def space(self) -> Space:
        used = sum(path.stat().st_size for path in self.target.rglob("*") if path.is_file())
        return super().space()._replace(free_bytes=(12 << 20) - used)

    def __init__(self, target: Path) -> None:
        super().__init__(target)
        self.target = target


def test_a_newer_revision_takes_the_place_of_the_older_where_both_do_not_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator runs an artifact again, on a volume that was made for one of its revisions."""
    first, second = {"model.bin": b"1" * (8 << 20), "same": b"s"}, {"model.bin": b"2" * (9 << 20), "same": b"s"}
    run(tmp_path, Repository(first), files=Small(tmp_path))
    with pytest.raises(NoSpace):
        run(tmp_path, Repository(second, "c2"), files=Small(tmp_path))
    assert model(tmp_path) == first
    run(tmp_path, Repository(second, "c2"), make_room=True, files=Small(tmp_path))
    assert model(tmp_path) == second
    assert any(text.startswith("removing 1 file first") for text in said(caplog, logging.WARNING))


def test_nothing_is_removed_where_that_would_not_make_room_enough(tmp_path: Path) -> None:
    first, second = {"model.bin": b"1" * (8 << 20)}, {"model.bin": b"2" * (12 << 20)}
    run(tmp_path, Repository(first), files=Small(tmp_path))
    with pytest.raises(NoSpace):
        run(tmp_path, Repository(second, "c2"), make_room=True, files=Small(tmp_path))
    assert model(tmp_path) == first
    assert listed(tmp_path) == set(first)
