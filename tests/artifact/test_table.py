"""A table of files returns what was put into it, and takes little memory."""

from __future__ import annotations

import hashlib
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.artifact import (
    Algorithm,
    Digest,
    FileTable,
    Mismatch,
    RemoteFile,
    Validator,
    paths_of,
    select,
    sizes_of,
)

FILES = 20_000

HEX = st.text("0123456789abcdef", max_size=70)
TEXTS = HEX | st.text('{}0a\\f "-', max_size=20) | st.text(max_size=20)
DIGESTS = st.builds(
    Digest,
    st.sampled_from(list(Algorithm)),
    TEXTS,
    st.sampled_from([(), ((5, 7), (1,))]),
    st.sampled_from(list(Mismatch)),
    st.booleans(),
)


@st.composite
def remote_files(draw: st.DrawFn) -> RemoteFile:
    path = draw(TEXTS)
    return RemoteFile(
        path,
        draw(st.integers(0, 1 << 50)),
        tuple(draw(st.lists(DIGESTS, max_size=3))),
        draw(st.none() | st.builds(Validator, TEXTS, st.booleans())),
        draw(TEXTS | st.just(path) | TEXTS.map(lambda prefix: prefix + path)),
        draw(st.none() | TEXTS),
        draw(st.none() | TEXTS),
        draw(st.booleans()),
    )


@settings(max_examples=300)
@given(st.lists(remote_files(), max_size=8))
def test_files_come_out_as_they_went_in(files: list[RemoteFile]) -> None:
    table = FileTable(files)
    assert list(table) == files
    assert table == tuple(files)
    assert [file.identity for file in table] == [file.identity for file in files]
    assert list(table.validators()) == [file.validator for file in files]
    assert list(table.tags()) == [None if file.validator is None else str(file.validator) for file in files]
    assert list(table.locators()) == [file.locator for file in files]
    assert list(paths_of(table)) == list(paths_of(files))
    assert list(sizes_of(table)) == list(sizes_of(files))
    assert list(table.taking(table.order())) == sorted(files, key=lambda file: file.path)
    assert list(table[1:5:2]) == files[1:5:2]
    assert list(table[:-1]) == files[:-1]


def like_a_bucket(number: int) -> RemoteFile:
    md5 = hashlib.md5(b"%d" % number).hexdigest()  # noqa: S324 - what an ETag is
    path = f"data/part-{number:08}.bin"
    return RemoteFile(path, number, (Digest(Algorithm.MD5, md5),), Validator(f'"{md5}"'), f"folder/{path}")


def test_a_file_like_another_comes_out_as_if_it_had_been_made() -> None:
    files = [like_a_bucket(number) for number in range(5)]
    table = FileTable([RemoteFile("other", 3), files[0]])
    for file in files[1:]:
        table.append_like(1, file.path, file.size, bytes.fromhex(file.digests[0].value))
    assert list(table) == [RemoteFile("other", 3), *files]
    assert list(table.tags()) == [None, *(str(file.validator) for file in files)]


def test_some_files_are_others_now() -> None:
    table = FileTable(map(like_a_bucket, range(10)))
    other = replace(table[3], size=7, digests=(), validator=None, locator="elsewhere")
    changed = table.replacing({3: other})
    wanted = [*map(like_a_bucket, range(3)), other, *map(like_a_bucket, range(4, 10))]
    assert list(changed.tags()) == [None if file.validator is None else str(file.validator) for file in wanted]
    assert changed == wanted
    assert changed.sizes[3] == 7
    assert list(changed.validators()) == [file.validator for file in wanted]
    assert list(changed.locators()) == [file.locator for file in wanted]
    assert changed.taking([5, 3]) == [wanted[5], wanted[3]]
    assert table == [like_a_bucket(number) for number in range(10)]
    assert table != changed


def test_a_path_is_found() -> None:
    table = FileTable(map(like_a_bucket, range(10)))
    assert table.find(like_a_bucket(7).path) == 7
    assert table.find("data") is None
    assert table.find("zzz") is None
    with pytest.raises(IndexError):
        table[10]


def test_all_of_the_files_are_the_same_sequence() -> None:
    table = FileTable(map(like_a_bucket, range(3)))
    assert select(table, [0, 1, 2]) is table
    assert select(table, [2, 0]) == [table[2], table[0]]
    assert select((table[0], table[1]), [1]) == (table[1],)


@pytest.mark.parametrize(
    "make",
    [like_a_bucket, lambda number: RemoteFile(f"{number:08}", number, (Digest(Algorithm.SHA256, f"{number:064x}"),))],
    ids=["a bucket", "a repository"],
)
def test_a_file_takes_less_than_160_bytes(make: object) -> None:
    assert callable(make)
    tracemalloc.start()
    try:
        table = FileTable(make(number) for number in range(FILES))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table) == FILES
    assert taken < 160 * FILES
