"""`list` and `--only` over every scheme: download, size, verify and a rerun choose the same files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.command import model, run
from tests.servers.published import Place, in_a_bucket, in_a_web_folder, on_the_hub

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Authority
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

FILES = {
    "config.json": b"{}",
    "model.safetensors": b"s" * 5000,
    "pytorch_model.bin": b"b" * 4000,
    "original/consolidated.00.pth": b"p" * 3000,
    "m-Q4_K_M.gguf": b"GGUF" + b"q" * 2000,
    "m-Q8_0.gguf": b"GGUF" + b"8" * 2500,
}
SAFETENSORS = ["config.json", "model.safetensors"]


@pytest.fixture(params=["hub_place", "bucket_place", "web_place"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def hub_place(hub: Hub) -> Place:
    return on_the_hub(hub, FILES)


@pytest.fixture
def bucket_place(s3: S3Server) -> Place:
    return in_a_bucket(s3, f"presets-{uuid4().hex}", FILES)


@pytest.fixture
def web_place(web: WebServer, web_root: Path, authority: Authority) -> Place:
    return in_a_web_folder(web, web_root / uuid4().hex, FILES, str(authority.bundle))


def test_download_size_verify_and_a_rerun_choose_the_same(place: Place, tmp_path: Path) -> None:
    extra = {**place.extra, "AIM_ONLY": "safetensors"}
    target = tmp_path / "model"
    first = run("download", place.uri, target, extra=extra)
    assert first.status == 0, first.stderr
    assert sorted(model(target)) == SAFETENSORS

    assert json.loads(run("size", place.uri, extra=extra).stdout)["sizeBytes"] == 5002
    assert run("verify", target, extra=extra).status == 0
    assert run("download", place.uri, target, extra=extra).status == 0
    assert sorted(model(target)) == SAFETENSORS


def test_what_is_named_by_itself_is_wanted_whatever_is_to_be_chosen(place: Place, tmp_path: Path) -> None:
    """The operator excludes all subfolders of each `hf://`."""
    uri = f"{place.uri.rstrip('/')}/original/consolidated.00.pth"
    extra = {**place.extra, "AIM_ONLY": "safetensors", "AIM_HF_INCLUDE": "*.json", "AIM_HF_EXCLUDE": "*/*"}
    assert json.loads(run("check-size", uri, extra=extra).stdout.splitlines()[-1])["sizeBytes"] == 3000
    listed = run("list", uri, extra=extra)
    assert listed.stdout.startswith("    2.9 KiB "), listed.stderr
    for _ in range(2):
        result = run("download", uri, tmp_path / "one", extra=extra)
        assert result.status == 0, result.stderr
        assert f"{place.uri.rstrip('/')}/original/" in result.stderr
    assert "done after" in result.stderr
    assert "1 file, 2.9 KiB; nothing had to be fetched" in result.stderr
    assert [len(data) for data in model(tmp_path / "one").values()] == [3000]
    assert run("verify", tmp_path / "one", extra=extra).status == 0


def test_a_list_has_all_files_and_marks_those_that_are_left_out(place: Place) -> None:
    result = run("ls", place.uri, "--only", "gguf:q4_k_m", extra=place.extra)
    assert result.status == 0, result.stderr
    marks = {line.split()[-1]: line[0] for line in result.stdout.splitlines()}

    assert {path for path, mark in marks.items() if mark == " "} == {"config.json", "m-Q4_K_M.gguf"}
    assert marks.keys() == FILES.keys()
    assert "--only safetensors: 2 files" in result.stderr


def test_a_list_as_json_names_sizes_digests_and_presets(place: Place) -> None:
    result = run("list", place.uri, "--only", "safetensors", "--json", extra=place.extra)
    assert result.status == 0, result.stderr
    listing = json.loads(result.stdout)

    assert {file["path"]: file["size"] for file in listing["files"]} == {
        path: len(data) for path, data in FILES.items()
    }
    assert [file["path"] for file in listing["files"] if file["chosen"]] == SAFETENSORS
    assert listing["size"] == 5002
    assert listing["presets"].keys() == {"safetensors", "gguf:Q4_K_M", "gguf:Q8_0"}
    assert all(file["digests"] for file in listing["files"])


def test_a_preset_that_fits_nothing_names_those_that_do(place: Place, tmp_path: Path) -> None:
    result = run("download", place.uri, tmp_path / "model", "--only", "gguf:Q2_K", extra=place.extra)

    assert result.status == 66
    assert "--only gguf:Q4_K_M, --only gguf:Q8_0" in result.last_line


def test_a_format_in_several_quantisations_has_to_be_told(place: Place, tmp_path: Path) -> None:
    result = run("download", place.uri, tmp_path / "model", "--only", "gguf", extra=place.extra)

    assert result.status == 64
    assert "choose one: --only gguf:Q4_K_M, --only gguf:Q8_0" in result.last_line
