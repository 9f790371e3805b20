"""Which files are wanted: the same globs as the shell's fnmatch, on whole paths."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import Manifest, RemoteFile
from downloader.errors import SourceNotFound
from downloader.filters import FileFilter

LETTERS = st.text("abAB.*?[]!-/ _", max_size=8)
PATHS = ("README.md", "a.bin", "sub/a.bin", "sub/deep/b.txt", ".hidden")


def manifest(*paths: str, single: bool = False) -> Manifest:
    files = tuple(RemoteFile(path, 1) for path in sorted(paths))
    return Manifest("hf://org/model", files, "c0ffee", checksums=b"list", single=single)


def kept(file_filter: FileFilter, *paths: str) -> list[str]:
    return [file.path for file in file_filter.of(manifest(*paths)).files]


@given(LETTERS, st.lists(LETTERS, max_size=3), st.lists(LETTERS, max_size=3))
def test_it_is_fnmatch_first_in_then_out(path: str, include: list[str], exclude: list[str]) -> None:
    def matches(globs: list[str]) -> bool:
        return any(re.fullmatch(fnmatch.translate(f"{glob}*" if glob.endswith("/") else glob), path) for glob in globs)

    expected = (not include or matches(include)) and not matches(exclude)
    assert FileFilter(tuple(include), tuple(exclude)).wants(path) is expected


@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        ((), (), list(PATHS)),
        ((), ("*/*",), [".hidden", "README.md", "a.bin"]),
        (("*.bin",), (), ["a.bin", "sub/a.bin"]),
        (("*.bin",), ("sub/*",), ["a.bin"]),
        (("*.BIN", "*.md"), (), ["README.md"]),
        (("sub/*",), (), ["sub/a.bin", "sub/deep/b.txt"]),
        (("sub/",), (), ["sub/a.bin", "sub/deep/b.txt"]),
        ((), ("sub/",), [".hidden", "README.md", "a.bin"]),
        (("s*/",), ("sub/deep/",), ["sub/a.bin"]),
        ((".*",), (), [".hidden"]),
        (("[ab].bin",), (), ["a.bin"]),
        (("?.bin",), (), ["a.bin"]),
        ((), ("[!.]*",), [".hidden"]),
    ],
)
def test_globs_cross_folders_and_heed_case(include: tuple[str, ...], exclude: tuple[str, ...], left: list[str]) -> None:
    assert sorted(kept(FileFilter(include, exclude), *PATHS)) == sorted(left)


def test_what_is_left_keeps_all_that_was_known_of_it() -> None:
    whole = manifest(*PATHS)
    chosen = FileFilter(("sub/*",)).of(whole)
    assert chosen.files == tuple(file for file in whole.files if file.path.startswith("sub/"))
    assert (chosen.uri, chosen.revision) == (whole.uri, whole.revision)


def test_other_filters_make_another_version_also_where_they_leave_the_same() -> None:
    whole = replace(manifest(*PATHS), version="v1")
    filters = [((), ()), (("*",), ()), (("*", "*"), ()), ((), ("*.gguf",)), (("sub/*",), ()), (("a.bin", "sub/*"), ())]
    versions = {FileFilter(*chosen).of(whole).version for chosen in filters}
    assert len(versions) == len(filters)
    assert FileFilter().of(whole).version == "v1"
    for chosen in filters:
        assert FileFilter(*chosen).of(whole).version == FileFilter(*chosen).version_of("v1")
        assert FileFilter(*chosen).of(replace(whole, version="v2")).version not in versions
        assert FileFilter(*chosen).of(manifest(*PATHS)).version is None


def test_a_checksum_list_is_only_kept_for_all_its_files() -> None:
    assert FileFilter(("sub/*",)).of(manifest(*PATHS)).checksums is None
    assert FileFilter(("*",)).of(manifest(*PATHS)).checksums == b"list"
    assert FileFilter().of(manifest(*PATHS)).checksums == b"list"


def test_filters_choose_from_folders_and_not_whether_a_named_file_is_wanted() -> None:
    one = manifest("model.bin", single=True)
    assert FileFilter(("*.txt",), ("*",)).of(one) is one


def test_nothing_left_is_an_error_that_says_where_to_look() -> None:
    with pytest.raises(SourceNotFound, match=r"none of the 5 files of hf://org/model .*--exclude"):
        FileFilter(("*.gguf",)).of(manifest(*PATHS))
