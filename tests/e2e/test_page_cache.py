"""What a run leaves in the page cache of its node."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import pytest

from tests.command import run
from tests.page_cache import cached_pages
from tests.servers.blobs import Noise

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub

PAGES = 9216
"""More than what is read between two times that the cache is freed."""
FILES = {"model.safetensors": Noise(PAGES * mmap.PAGESIZE, seed=201).bytes(), "small.bin": bytes(8 * mmap.PAGESIZE)}


@pytest.mark.parametrize("cache", [False, True], ids=["folder", "hub cache"])
def test_files_stay_in_the_page_cache_if_that_is_wanted(hub: Hub, tmp_path: Path, *, cache: bool) -> None:
    """For the engine on the same node, also after `verify`."""
    hub.create("org/model").commit(FILES)
    place = ["--hub-cache", tmp_path] if cache else [tmp_path / "models--org--model"]

    def cached(value: str, *command: str | Path) -> int:
        result = run(*command, extra={"HF_ENDPOINT": hub.endpoint, "AIM_PAGE_CACHE": value})
        assert result.status == 0, result.stderr
        found = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
        (model,) = (path for path in found if path.stat().st_size == PAGES * mmap.PAGESIZE)
        return cached_pages(model)

    assert cached("keep", "download", "hf://org/model", *place) == PAGES
    assert cached("keep", "verify", tmp_path / "models--org--model") == PAGES
    assert cached("drop", "verify", tmp_path / "models--org--model") < PAGES // 4


def test_files_are_written_past_the_page_cache_otherwise(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    result = run("download", "hf://org/model", tmp_path / "target", extra={"HF_ENDPOINT": hub.endpoint})
    assert result.status == 0, result.stderr
    assert cached_pages(tmp_path / "target/model.safetensors") < PAGES // 4


def test_another_word_is_refused(tmp_path: Path) -> None:
    result = run("download", "hf://org/model", tmp_path, extra={"AIM_PAGE_CACHE": "warm"})
    assert result.status == 78
    assert "AIM_PAGE_CACHE" in result.last_line
    assert "keep or drop" in result.last_line
