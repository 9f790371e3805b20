"""What the ranged transport asks for early: several small files at once, and the next span of a large one."""

from __future__ import annotations

import resource
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.volume import Volume
from tests.servers.blobs import Noise
from tests.unit.homecoming import SHAPE, Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = Noise(3_000_000, seed=41).bytes()


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with Volume(tmp_path / "target") as volume, volume.lease("hf://org/model"):
        yield volume


SMALL_FILES = {f"{number:03}.json": b"%d" % number for number in range(100)}


def test_small_files_are_asked_for_together_by_each_worker_its_share(volume: Volume) -> None:
    run = Run(volume, {**SMALL_FILES, "large.bin": CONTENT, "empty": b""})
    run.fetch()
    assert sorted(run.landing.delivered) == sorted([*SMALL_FILES, "large.bin", "empty"])
    together = [pieces for pieces in run.source.announced if len(pieces) > 1]
    assert {path for pieces in together for path, _ in pieces} <= SMALL_FILES.keys()
    assert all(span == Span(0, len(SMALL_FILES[path])) for pieces in together for path, span in pieces)
    assert 1 < max(map(len, together)) <= SHAPE.together


def test_a_shape_may_say_that_each_file_is_asked_for_alone(volume: Volume) -> None:
    run = Run(volume, SMALL_FILES, replace(SHAPE, together=1))
    run.fetch()
    assert len(run.landing.delivered) == len(SMALL_FILES)
    assert all(pieces == [] for pieces in run.source.announced)


def test_a_span_is_asked_for_before_the_last_one_has_come_while_there_are_plenty(volume: Volume) -> None:
    large = bytes(8 << 20)
    run = Run(volume, {"large.bin": large}, replace(SHAPE, connections=1, most=1))
    run.fetch()
    assert run.landing.delivered == ["large.bin"]
    assert run.source.served == len(large)
    ahead = [pieces for pieces in run.source.announced if pieces]
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
    assert sorted(run.landing.delivered) == sorted(SMALL_FILES)
    announced = [path for pieces in run.source.announced for path, _ in pieces]
    assert announced.count("050.json") <= 1
    assert times.count("050.json") == 2


def test_a_slow_disk_needs_no_more_open_files_than_a_process_usually_may_have(volume: Volume) -> None:
    run = Run(volume, {f"{number:04}.json": b"%d" % number for number in range(1200)})
    run.landing.deliver_fault = lambda _: time.sleep(0.5) if len(run.landing.delivered) % 100 == 0 else None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        run.fetch()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(run.landing.delivered) == 1200


def test_as_many_files_are_fetched_abreast_as_the_shape_says(volume: Volume) -> None:
    files = {f"{number}.bin": CONTENT for number in range(4)}
    run = Run(volume, files, replace(SHAPE, abreast=2))
    order: list[str] = []
    run.landing.begin_fault = order.append
    run.source.fault = lambda path, position: order.append(f"{path} {position}")
    run.fetch()
    assert sorted(run.landing.delivered) == sorted(files)
    begun = [path for path in order if " " not in path]
    first_bytes_of_the_third = next(n for n, what in enumerate(order) if what.startswith(f"{begun[2]} "))
    assert any(what.startswith(f"{begun[1]} ") for what in order[:first_bytes_of_the_third])
    spans_before_the_second = [what for what in order[: order.index(begun[1])] if " " in what]
    assert len(spans_before_the_second) < len(CONTENT) // (256 << 10)
