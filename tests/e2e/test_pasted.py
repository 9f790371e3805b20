"""The command with what people paste from a browser, against a Hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.command import model, run
from tests.servers.published import on_the_hub

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub

FILES = {"config.json": b"{}", "sub/model.safetensors": b"s" * 3000}


@pytest.mark.parametrize(
    ("pasted", "files"),
    [
        ("https://huggingface.co/org/model", FILES),
        ("huggingface.co/org/model/tree/main", FILES),
        ("  'https://huggingface.co/org/model/tree/main/sub?not=needed' ", {"sub/model.safetensors": b"s" * 3000}),
        ("https://huggingface.co/org/model/blob/main/config.json", {"config.json": b"{}"}),
        ("HF://org/model", FILES),
    ],
)
def test_a_page_of_the_hub_brings_what_it_shows(hub: Hub, tmp_path: Path, pasted: str, files: dict[str, bytes]) -> None:
    place = on_the_hub(hub, FILES)
    result = run("download", pasted, tmp_path / "model", extra=place.extra)

    assert result.status == 0, result.stderr
    assert model(tmp_path / "model") == files


def test_a_name_without_a_scheme_is_answered_with_the_uri(hub: Hub) -> None:
    result = run("size", "org/model@main", extra=on_the_hub(hub, FILES).extra)

    assert result.status == 64
    assert "write hf://org/model@main" in result.last_line


@pytest.mark.parametrize("uri", ["hf://org/model@feature%2Fx", "https://huggingface.co/org/model/tree/feature%2Fx"])
def test_a_branch_may_have_a_slash(hub: Hub, uri: str) -> None:
    repository = hub.create("org/model")
    repository.commit(FILES)
    repository.commit({**FILES, "more.json": b"[]"}, reference="refs/heads/feature/x")
    result = run("size", uri, extra={"HF_ENDPOINT": hub.endpoint})

    assert result.status == 0, result.stderr
    assert json.loads(result.stdout)["sizeBytes"] == 3004


def test_a_branch_with_a_slash_that_is_written_plainly_is_pointed_out(hub: Hub) -> None:
    place = on_the_hub(hub, FILES)
    result = run("size", "hf://org/model@feature/x", extra=place.extra)

    assert result.status == 66
    assert "a slash in it is written as %2F" in result.last_line


def test_a_commit_that_is_cut_is_pointed_out(hub: Hub) -> None:
    place = on_the_hub(hub, FILES)
    result = run("size", "hf://org/model@35c69e9", extra=place.extra)

    assert result.status == 66
    assert "a commit is written with all of its 40 digits" in result.last_line
