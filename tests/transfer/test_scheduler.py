"""What the ranged transport asks for early: several small files at once, and the next span of a large one."""

from __future__ import annotations

import resource
import threading
import time
from dataclasses import replace
from sys import maxsize
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.transfer.file_transfer import FileTransfer
from downloader.transfer.scheduler import Scheduler, Task
from downloader.volume import Volume
from tests.servers.blobs import Noise
from tests.transfer.harness import CONFIG, Run, file_of
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = Noise(3_000_000, seed=41).bytes()
PAGE = 4096


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with Volume(tmp_path / "target") as volume, volume.lease("hf://org/model"):
        yield volume


SMALL_FILES = {f"{number:03}.json": b"%d" % number for number in range(100)}


def test_small_files_are_asked_for_together_by_each_worker_its_share(volume: Volume) -> None:
    run = Run(volume, {**SMALL_FILES, "large.bin": CONTENT, "empty": b""})
    run.fetch()
    assert sorted(run.sink.committed) == sorted([*SMALL_FILES, "large.bin", "empty"])
    together = [pieces for pieces in run.source.prefetched if len(pieces) > 1 and pieces[0][0] != "large.bin"]
    assert {path for pieces in together for path, _ in pieces} <= SMALL_FILES.keys()
    assert all(span == Span(0, len(SMALL_FILES[path])) for pieces in together for path, span in pieces)
    assert 1 < max(map(len, together)) <= CONFIG.pipeline_depth


def test_a_shape_may_say_that_each_file_is_asked_for_alone(volume: Volume) -> None:
    run = Run(volume, SMALL_FILES, replace(CONFIG, pipeline_depth=1))
    run.fetch()
    assert len(run.sink.committed) == len(SMALL_FILES)
    assert all(pieces == [] for pieces in run.source.prefetched)


def test_a_span_is_asked_for_before_the_last_one_has_come_while_there_are_plenty(volume: Volume) -> None:
    large = bytes(8 << 20)
    run = Run(volume, {"large.bin": large}, replace(CONFIG, initial_connections=1, max_connections=1))
    run.fetch()
    assert run.sink.committed == ["large.bin"]
    assert run.source.served == len(large)
    ahead = [pieces for pieces in run.source.prefetched if pieces]
    assert ahead
    assert all(first.stop == second.start for (_, first), (_, second) in ahead)


def test_a_damaged_small_file_is_asked_for_alone_the_second_time(volume: Volume) -> None:
    run = Run(volume, SMALL_FILES)
    right = run.source.contents["050.json"]
    run.source.contents["050.json"] = b"xx"
    run.source.fault = lambda path, _: run.source.contents.update({path: right}) if asked(path) else None
    times: list[str] = []

    def asked(path: str) -> bool:
        times.append(path)
        return path == "050.json" and times.count(path) > 1

    run.fetch()
    assert sorted(run.sink.committed) == sorted(SMALL_FILES)
    prefetched = [path for pieces in run.source.prefetched for path, _ in pieces]
    assert prefetched.count("050.json") <= 1
    assert times.count("050.json") == 2


@pytest.mark.slow
def test_a_slow_disk_needs_no_more_open_files_than_a_process_usually_may_have(volume: Volume) -> None:
    run = Run(volume, {f"{number:04}.json": b"%d" % number for number in range(1200)})
    run.sink.commit_fault = lambda _: time.sleep(0.5) if len(run.sink.committed) % 100 == 0 else None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        run.fetch()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(run.sink.committed) == 1200


LARGE = {f"{number}.bin": CONTENT for number in range(4)}
STREAMS = replace(CONFIG, initial_connections=2, max_connections=2, stream_size=maxsize)
SOON = 60.0


def test_while_there_are_files_for_all_each_comes_in_one_stream_beside_another(volume: Volume) -> None:
    run, both = Run(volume, LARGE, STREAMS), threading.Barrier(2, timeout=SOON)
    run.source.fault = lambda path, position: _meet(both) if position == 0 and path in ("0.bin", "1.bin") else None
    run.fetch()
    assert sorted(run.sink.committed) == sorted(LARGE)
    assert set(run.source.opened[:2]) == {("0.bin", Span(0, len(CONTENT))), ("1.bin", Span(0, len(CONTENT)))}
    assert run.source.served == len(LARGE) * len(CONTENT)


def test_a_stream_may_be_shorter_than_a_file(volume: Volume) -> None:
    run = Run(volume, LARGE, replace(STREAMS, stream_size=1 << 20))
    run.fetch()
    assert sorted(run.sink.committed) == sorted(LARGE)
    assert _opened(run, "0.bin")[:2] == [Span(0, 1 << 20), Span(1 << 20, 2 << 20)]
    assert max(len(span) for _, span in run.source.opened) == 1 << 20
    assert run.source.served == len(LARGE) * len(CONTENT)


def test_no_worker_joins_a_file_while_there_are_others_to_begin(volume: Volume) -> None:
    scheduler = Scheduler(replace(CONFIG, initial_connections=1), lambda: False)
    files = [file_of(path, CONTENT) for path in "abcd"]
    scheduler.add(files)
    first, second, third = (_begin(scheduler, volume) for _ in range(3))
    assert [task.transfer.file for task in (first, second, third)] == files[:3]
    scheduler.end_segment(second.transfer, None)
    assert _task(scheduler).transfer is second.transfer, "a worker continues in the file of its last segment"
    assert _begin(scheduler, volume).transfer.file == files[3]
    assert _task(scheduler).transfer.in_flight == 2, "all have been begun"


def _shared(scheduler: Scheduler, volume: Volume, *spans: Span) -> FileTransfer:
    """Return a file of which this process has claimed some ranges, one after the other."""
    file = file_of("shared", CONTENT)
    transfer = FileTransfer(file, volume.partial(file), lambda: None, shared=True)
    scheduler.feed(more=True)
    scheduler.add_transfer(transfer)
    for span in spans:
        scheduler.extend(transfer, [span])
    return transfer


def test_the_first_worker_of_a_shared_file_takes_all_that_was_claimed_in_one_request(volume: Volume) -> None:
    scheduler, size = Scheduler(STREAMS, lambda: False), len(CONTENT) // 4
    spans = [Span(number * size, (number + 1) * size) for number in range(4)]
    transfer = _shared(scheduler, volume, *spans[:2])
    first = _task(scheduler).segment
    assert first is not None
    assert first.span == Span(0, 2 * size), "neighbours are one range"
    scheduler.extend(transfer, spans[2:])
    second, request = _task(scheduler).segment, STREAMS.request_size(transfer.file)
    assert second is not None
    assert request is not None
    assert len(second.span) <= request, "it is hashed after the first, and waits in memory until then"


def test_no_worker_takes_away_what_another_has_begun_of_a_shared_file(volume: Volume) -> None:
    ended = False
    scheduler = Scheduler(STREAMS, lambda: ended)
    _shared(scheduler, volume, Span(0, len(CONTENT)))
    segment = _task(scheduler).segment
    waiting = threading.Thread(target=scheduler.next)
    waiting.start()
    waiting.join(0.2)
    ended = True
    scheduler.wake()
    waiting.join(SOON)
    assert segment is not None
    assert segment.remaining == len(CONTENT)


def _begin(scheduler: Scheduler, volume: Volume) -> Task:
    files = scheduler.next()
    assert not isinstance(files, Task | None)
    return scheduler.begun(FileTransfer(files[0], volume.partial(files[0]), lambda: None))


def _task(scheduler: Scheduler) -> Task:
    task = scheduler.next()
    assert isinstance(task, Task)
    return task


def _meet(barrier: threading.Barrier) -> None:
    barrier.wait()


def test_a_single_file_comes_in_requests_of_the_shape_and_in_shorter_ones_at_the_end(volume: Volume) -> None:
    run = Run(volume, {"only.bin": CONTENT}, STREAMS)
    run.fetch()
    lengths = [len(span) for _, span in sorted(run.source.opened, key=lambda piece: piece[1].start)]
    usual = 256 << 10
    assert lengths[:-1] == sorted(lengths[:-1], reverse=True)
    assert lengths[0] == usual
    assert lengths[-2] == usual // 4
    assert sum(lengths) == len(CONTENT)


def test_an_idle_worker_steals_what_another_has_not_begun(volume: Volume) -> None:
    run, slow = Run(volume, {"0.bin": CONTENT, "1.bin": b"1" * PAGE}, STREAMS), threading.local()

    def wait_for_help(path: str, position: int) -> None:
        if path == "1.bin":
            assert eventually(lambda: bool(_opened(run, "0.bin")), SOON)
        slow.mine = getattr(slow, "mine", False) or (path, position) == ("0.bin", 0)
        if slow.mine and path == "0.bin":
            assert eventually(lambda: len(_opened(run, "0.bin")) > 1, SOON)

    run.source.fault = wait_for_help
    run.fetch()
    assert sorted(run.sink.committed) == ["0.bin", "1.bin"]
    first, *others = _opened(run, "0.bin")
    assert first == Span(0, len(CONTENT))
    assert others, "the first segment was the whole file, and no worker stole from it"
    assert all(len(span) <= 256 << 10 for span in others)
    assert run.source.served == len(CONTENT) + PAGE, "no byte was read twice"
    assert run.buffers_are_back


def test_a_stream_is_left_to_its_reader_where_ranges_are_not_to_be_asked_for(volume: Volume) -> None:
    run = Run(volume, {"0.bin": CONTENT, "1.bin": b"1"}, replace(STREAMS, request_size=lambda _: None))
    run.fetch()
    assert [span for _, span in sorted(run.source.opened)] == [Span(0, len(CONTENT)), Span(0, 1)]


def _opened(run: Run, path: str) -> list[Span]:
    return [span for name, span in run.source.opened if name == path]
