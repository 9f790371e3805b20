"""Only processes that divide the same files in the same way meet on one board."""

from __future__ import annotations

from dataclasses import replace

import pytest

from downloader.artifact import Algorithm, Digest, Manifest
from downloader.shards import board_name, work
from tests.volume.artifacts import noise, remote

LARGE = 64 << 20
FILES = (remote("config.json", b"{}"), replace(remote("model.bin", noise(1000)), size=LARGE))


def test_the_same_files_have_the_same_board_wherever_they_come_from() -> None:
    elsewhere = tuple(replace(file, locator=f"https://mirror/{file.path}?key=1") for file in FILES)
    assert board_name(Manifest("hf://org/m", FILES)) == board_name(Manifest("hf://org/m", elsewhere))


@pytest.mark.parametrize(("name", "value"), [("SHORTEST", 8 << 20), ("MOST_FILES", 1), ("VERSION", 7)])
def test_a_release_that_divides_the_work_or_writes_logs_otherwise_has_another_board(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    manifest = Manifest("hf://org/m", (*FILES, remote("other.json", b"[]")))
    before = board_name(manifest)
    monkeypatch.setattr(work, name, value)
    assert board_name(manifest) != before


def test_a_process_that_may_combine_ranges_of_a_file_does_not_meet_one_that_may_not() -> None:
    """One of them has a list of what it expects: the file is the same to both, and has no digest of its own."""
    plain = replace(FILES[1], digests=(), validator=None)
    expected = replace(plain, digests=(Digest(Algorithm.SHA256, "0" * 64, expected=True),))
    assert plain.identity == expected.identity
    assert board_name(Manifest("https://host/m", (plain,))) != board_name(Manifest("https://host/m", (expected,)))
