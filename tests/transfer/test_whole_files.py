"""Small files come in one piece: each ends in one way, and nothing of one that fails is counted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from downloader.errors import AccessDenied, DownloadError, SourceUnavailable, Stalled
from downloader.transfer.whole_files import WholeFiles
from downloader.volume import Volume
from tests.transfer.harness import Run
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = {f"{number:02}.bin": bytes([number]) * (number + 1) * 1000 for number in range(40)}


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with Volume(tmp_path / "target") as volume, volume.lease("hf://org/model"):
        yield volume


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the paths that are fetched in one piece."""
    paths: list[str] = []
    fetch = WholeFiles.fetch

    def note(self: WholeFiles, file, *rest) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002
        paths.append(file.path)
        fetch(self, file, *rest)

    monkeypatch.setattr(WholeFiles, "fetch", note)
    return paths


@pytest.mark.parametrize("most", [1 << 30, 777])
def test_every_small_file_comes_whole(volume: Volume, fetched: list[str], most: int) -> None:
    run = Run(volume, FILES)
    run.source.most = most
    run.fetch()

    assert {path: (volume.target / path).read_bytes() for path in FILES} == FILES
    assert sorted(fetched) == sorted(FILES)
    assert run.buffers_are_back


def test_only_what_fits_into_a_buffer_comes_in_one_piece(volume: Volume, fetched: list[str]) -> None:
    files = {"fits.bin": b"x" * (64 << 10), "larger.bin": b"x" * ((64 << 10) + 1), "empty.bin": b""}
    run = Run(volume, files)
    run.fetch()

    assert fetched == ["fits.bin"]
    assert {path: (volume.target / path).read_bytes() for path in files} == files


def test_one_that_would_be_resumed_does_not(tmp_path: Path, fetched: list[str]) -> None:
    with Volume(tmp_path / "target", journal_above=0) as volume, volume.lease("hf://org/model"):
        Run(volume, FILES).fetch()
        assert {path: (volume.target / path).read_bytes() for path in FILES} == FILES
    assert not fetched


@pytest.mark.parametrize("after", [0, 3000])
def test_one_that_fails_is_left_and_not_counted(volume: Volume, after: int) -> None:
    run = Run(volume, FILES)
    run.source.most = 1000

    def fail(path: str, position: int) -> None:
        if path == "10.bin" and position >= after:
            raise SourceUnavailable("the connection ended")

    run.source.fault = fail
    run.meter.expect(sum(map(len, FILES.values())), len(FILES))
    run.fetch()

    assert list(run.sink.failed) == ["10.bin"]
    assert sorted(run.sink.committed) == sorted(set(FILES) - {"10.bin"})
    assert run.meter.snapshot().done_bytes == sum(map(len, FILES.values())) - len(FILES["10.bin"])
    assert run.buffers_are_back


def test_an_error_that_concerns_the_run_ends_it(volume: Volume) -> None:
    run = Run(volume, FILES)

    def fail(path: str, _position: int) -> None:
        if path == "10.bin":
            raise AccessDenied("not yours")

    run.source.fault = fail
    with pytest.raises(AccessDenied):
        run.fetch()
    assert not run.sink.failed


def test_one_that_waits_is_shown_and_wakes_when_the_attempt_ends(volume: Volume) -> None:
    run, errors = Run(volume, FILES), list[DownloadError]()

    def block(path: str, _position: int) -> None:
        if path == "00.bin":
            run.source.interrupted.wait(AT_LAST)
            raise SourceUnavailable("the connection ended")

    def fetch() -> None:
        try:
            run.fetch()
        except DownloadError as error:
            errors.append(error)

    run.source.fault = block
    worker = threading.Thread(target=fetch)
    worker.start()
    assert eventually(lambda: [file.path for file in run.meter.snapshot().files] == ["00.bin"])
    run.cancellation.cancel(Stalled("no byte"))
    worker.join()
    assert [type(error) for error in errors] == [Stalled]
    assert run.source.interrupted.is_set()
