"""Remote names are hostile: what cannot or must not become a file is refused before the first byte."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloader.errors import ConfigurationError
from downloader.sources.paths import MAX_FOLDERS, MAX_PART_BYTES, MAX_PATH_BYTES, check_names

URI = "hf://org/model"


@pytest.mark.parametrize(
    "path",
    [
        "a",
        ".hidden",
        "a b/ c",
        "...",
        "..a/b..",
        "-rf",
        "ä/日本.bin",
        "a\\b",
        "C:\\x",
        "%2e%2e",
        "sub/.downloading",
        "sub/.artifact.sha256",
        ".downloading2",
        "x" * MAX_PART_BYTES,
        "ä" * (MAX_PART_BYTES // 2),
        "/".join(["x" * 100] * 30),
        "a/" * MAX_FOLDERS + "f",
    ],
)
def test_odd_names_are_names(path: str) -> None:
    check_names([path], URI)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "not a relative path"),
        ("/etc/passwd", "not a relative path"),
        ("..", "'..' part"),
        ("../x", "'..' part"),
        ("a/../b", "'..' part"),
        ("a/..", "'..' part"),
        (".", "'..' part"),
        ("./a", "'..' part"),
        ("a//b", "'..' part"),
        ("a/", "'..' part"),
        ("a\nb", "control characters"),
        ("a\0", "control characters"),
        ("\x1b[2J", "control characters"),
        ("a\x7f", "control characters"),
        ("\udcff", "not valid text"),
        ("a/" * (MAX_FOLDERS + 1) + "f", "folders deep"),
        (".downloading", "uses itself"),
        (".downloading/lease.1", "uses itself"),
        (".artifact.sha256", "uses itself"),
        (".artifact.sha256/x", "uses itself"),
        ("x" * (MAX_PART_BYTES + 1), "too long"),
        ("ä" * (MAX_PART_BYTES // 2 + 1), "too long"),
        ("/".join(["x" * 100] * (MAX_PATH_BYTES // 100 + 1)), "too long"),
    ],
)
def test_the_culprit_is_named_in_one_line(path: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match="refused") as caught:
        check_names(["good", path], URI)
    assert why in caught.value.message
    assert URI in caught.value.message
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("paths", [["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"], ["x", "a/b/c", "a"]])
def test_a_file_cannot_be_a_folder_too(paths: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="needs a folder of that name"):
        check_names(paths, URI)


def test_a_name_cannot_be_there_twice() -> None:
    with pytest.raises(ConfigurationError, match="listed twice"):
        check_names(["a", "b", "a"], URI)


def test_similar_names_are_no_collision() -> None:
    check_names(["a", "ab", "a.b", "A", "b/a", "b/ab", "c/b"], URI)


PARTS = st.text(st.characters(codec=None, categories=None), max_size=5) | st.sampled_from([".", "..", "", "a", "\\"])


@pytest.mark.slow
@settings(max_examples=200)
@given(st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join), max_size=5))
def test_whatever_passes_stays_inside_and_can_be_made(paths: list[str]) -> None:
    try:
        check_names(paths, URI)
    except ConfigurationError:
        return
    assert len(set(paths)) == len(paths)
    for path in paths:
        pure = PurePosixPath(path)
        assert not pure.is_absolute()
        assert str(pure) == path
        assert ".." not in pure.parts
        assert not {str(parent) for parent in pure.parents} & set(paths)
        path.encode()
        assert not any(ord(letter) < 32 for letter in path)
