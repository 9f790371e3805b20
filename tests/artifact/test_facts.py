"""The tables of what is known of each file say the same as dicts."""

from __future__ import annotations

import tracemalloc

import pytest

from downloader.artifact import Manifest, Marks, Packed, Paths, RemoteFile, Words
from downloader.engine import Outcome

PATHS = ["b/2", "a", "b/1", "\u00e9"]
SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(("table", "values"), [(Packed, [SHA256, "", "f" * 64]), (Words, ["md5", "", "size only"])])
def test_a_table_says_what_a_dict_says(table: type[Packed | Words[str]], values: list[str]) -> None:
    kept, wanted = table(Paths(PATHS)), dict(zip(PATHS, values, strict=False))
    for path, value in wanted.items():
        kept[path] = "0" * 64
        kept[path] = value
    assert dict(kept) == wanted
    assert len(kept) == 3
    assert "\u00e9" not in kept
    assert kept.setdefault("a", "1" * 64) == wanted["a"]
    del kept["a"]
    assert dict(kept) == {path: value for path, value in wanted.items() if path != "a"}
    for path in ("a", "c", "", "\u00e9"):
        with pytest.raises(KeyError):
            kept[path]
    for path in ("c", "zz"):
        with pytest.raises(KeyError):
            kept[path] = SHA256


def test_marks_say_what_a_set_says() -> None:
    marks = Marks(Paths(PATHS), ["a", "of an older listing"])
    marks.add("b/2")
    marks.discard("c")
    assert set(marks) == {"a", "b/2"}
    assert len(marks) == 2
    marks.discard("a")
    assert list(marks) == ["b/2"]
    assert "a" not in marks
    with pytest.raises(KeyError):
        marks.add("c")


def test_the_memory_of_an_outcome_does_not_grow_while_files_are_finished() -> None:
    files = tuple(RemoteFile(f"{number:06}", 1) for number in range(20_000))
    outcome = Outcome.of(Manifest("s3://many", files))
    tracemalloc.start()
    try:
        for file in files:
            outcome.checksums[file.path] = SHA256
            outcome.proofs[file.path] = "md5"
            outcome.fetched.add(file.path)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < len(files)  # less than a byte for each file
    assert set(outcome.fetched) == {file.path for file in files}
    assert outcome.checksums == {file.path: SHA256 for file in files}
