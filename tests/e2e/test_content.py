"""A web page or a Git LFS pointer in the place of a model, from every source: refused with the reason."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from downloader.sources.hub_address import HubAddress
from tests.command import model, run
from tests.integrity.test_content import PAGE, POINTER, safetensors
from tests.servers.bucket import Bucket
from tests.servers.faults import FOREVER, Answer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub

HTML = {"Content-Type": "text/html; charset=utf-8"}
WEIGHTS = safetensors(b"{}", b"")


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "model.bin", "model"])
def test_a_login_page_is_no_model(own_web: BrokenWeb, tmp_path: Path, name: str) -> None:
    url = own_web.put(name, PAGE, headers=HTML)
    result = run("download", url, tmp_path)
    assert result.status == 65, result.stderr
    assert "web page" in result.last_line
    assert "--accept-any" in result.last_line
    assert model(tmp_path) == {}
    assert run("size", url).status == 65


@pytest.mark.parametrize("media_type", [None, "application/octet-stream"])
@pytest.mark.parametrize(("name", "word"), [("model.bin", "web page"), ("model.gguf", "web page")])
def test_a_server_that_says_nothing_of_it_does_not_make_it_one(
    own_web: BrokenWeb, tmp_path: Path, name: str, word: str, media_type: str | None
) -> None:
    url = own_web.put(name, PAGE, headers={"Content-Type": media_type})
    result = run("download", url, tmp_path)
    assert result.status == 65, result.stderr
    assert word in result.last_line
    assert not (tmp_path / name).exists()


def test_a_model_that_a_server_calls_a_page_is_taken(own_web: BrokenWeb, tmp_path: Path) -> None:
    result = run("download", own_web.put("model.safetensors", WEIGHTS, headers=HTML), tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.safetensors": WEIGHTS}


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("org/model", "hf://org/model"),
        ("org/model/blob/main/model.gguf", "hf://org/model/model.gguf"),
        ("org/model/blob/v1/sub/model.gguf", "hf://org/model@v1/sub/model.gguf"),
        ("datasets/org/model/tree/main", "hf://datasets/org/model"),
    ],
)
def test_a_page_about_a_model_leads_to_its_uri(own_web: BrokenWeb, tmp_path: Path, path: str, uri: str) -> None:
    result = run("download", own_web.put(path, PAGE, headers=HTML), tmp_path)
    assert result.status == 65, result.stderr
    assert result.last_line.endswith(f"write {uri})")


@pytest.mark.parametrize(
    ("pasted", "uri"),
    [
        ("hf://org/model/blob/main/sub/model.gguf", "hf://org/model/sub/model.gguf"),
        ("hf://org/model/tree/main", "hf://org/model"),
        (f"hf://org/model/tree/{'a' * 40}/sub", f"hf://org/model@{'a' * 40}/sub"),
        ("hf://huggingface.co/org/model", "hf://org/model"),
        ("hf://hf.co/datasets/org/model/resolve/v1/a.bin", "hf://datasets/org/model@v1/a.bin"),
    ],
)
def test_so_does_the_address_of_a_page_behind_the_scheme_of_the_hub(pasted: str, uri: str) -> None:
    result = run("size", pasted, extra={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert result.status == 64, result.stderr
    assert result.last_line.endswith(f"is the address of a page (write {uri})")


@pytest.mark.parametrize(
    ("uri", "repository", "folder"),
    [
        ("hf://org/tree/main", "org/tree", "main"),
        ("hf://org/model/tree/notes", "org/model", "tree/notes"),
        ("hf://org/hf.co", "org/hf.co", ""),
    ],
)
def test_names_that_only_resemble_a_page_are_names(uri: str, repository: str, folder: str) -> None:
    assert HubAddress.parse(uri) == HubAddress("model", repository, "main", folder)


@pytest.mark.parametrize("how", ["option", "environment"])
def test_content_that_is_accepted_explicitly_is_downloaded(own_web: BrokenWeb, tmp_path: Path, how: str) -> None:
    url = own_web.put("model.bin", PAGE, headers=HTML)
    options = ["--accept-any"] if how == "option" else []
    extra = {"AIM_ACCEPT_ANY": "true"} if how == "environment" else {}
    assert json.loads(run("size", url, *options, extra=extra).stdout) == {"url": url, "sizeBytes": len(PAGE)}
    result = run("download", url, tmp_path, *options, extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": PAGE}
    assert run("verify", tmp_path, *options, extra=extra).status == 0


@pytest.mark.parametrize("protocol", ["XET", "HF_TRANSFER", "HTTP"])
@pytest.mark.parametrize(("content", "word"), [(POINTER, "Git LFS pointer"), (PAGE, "web page")])
def test_what_was_committed_in_the_place_of_the_weights_does_not_count(
    hub: Hub, tmp_path: Path, content: bytes, word: str, protocol: str
) -> None:
    hub.create("org/model").commit({"config.json": b"{}", "model.safetensors": content})
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol}
    result = run("download", "hf://org/model", tmp_path, extra=extra)
    assert result.status == 65, result.stderr
    assert f"model.safetensors is a {word}" in result.last_line
    assert not (tmp_path / "model.safetensors").exists()
    left_out = run("download", "hf://org/model", tmp_path, "--exclude", "*.safetensors", extra=extra)
    assert left_out.status == 0, left_out.stderr


def test_an_object_that_is_a_page_is_no_model(tmp_path: Path) -> None:
    with Bucket() as bucket:
        bucket.put("m/model.bin", PAGE)
        result = run("download", "s3://bucket/m", tmp_path, extra=bucket.environment)
    assert result.status == 65, result.stderr
    assert "model.bin is a web page" in result.last_line
    assert not (tmp_path / "model.bin").exists()


def test_a_page_that_a_checksum_list_vouches_for_is_no_model(own_web: BrokenWeb, tmp_path: Path) -> None:
    own_web.put("m/model.bin", PAGE, headers=HTML)
    own_web.put("m/SHA256SUMS", f"{hashlib.sha256(PAGE).hexdigest()}  model.bin\n".encode())
    result = run("download", own_web.url("m/"), tmp_path)
    assert result.status == 65, result.stderr
    assert "model.bin is a web page" in result.last_line


def test_a_page_in_the_place_of_listed_bytes_is_told_as_such(own_web: BrokenWeb, tmp_path: Path) -> None:
    wanted = b"w" * len(PAGE)
    own_web.put("m/model.bin", PAGE, headers=HTML)
    own_web.put("m/SHA256SUMS", f"{hashlib.sha256(wanted).hexdigest()}  model.bin\n".encode())
    result = run("download", own_web.url("m/"), tmp_path)
    assert result.status == 65, result.stderr
    assert "what came is a web page" in result.last_line


def test_a_page_of_another_length_is_no_new_version(own_web: BrokenWeb, tmp_path: Path) -> None:
    own_web.put("m/model.bin", bytes(5000))
    own_web.put("m/SHA256SUMS", f"{hashlib.sha256(bytes(5000)).hexdigest()}  model.bin\n".encode())
    own_web.faults.add(Answer(200, HTML, PAGE), method="GET", path="*/model.bin", times=FOREVER)
    result = run("download", own_web.url("m/"), tmp_path)
    assert result.status == 69, result.stderr
    assert "answers with a web page in the place of the file" in result.last_line


def test_a_pointer_that_is_on_the_volume_already_is_not_adopted(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({"model.safetensors": POINTER})
    (tmp_path / "model.safetensors").write_bytes(POINTER)
    result = run("download", "hf://org/model", tmp_path, extra={"HF_ENDPOINT": hub.endpoint})
    assert result.status == 65, result.stderr
    assert "Git LFS pointer" in result.last_line
    assert not (tmp_path / ".artifact.sha256").exists()


def test_verify_finds_what_an_earlier_version_let_in(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.bin", PAGE, headers=HTML)
    assert run("download", url, tmp_path, "--accept-any").status == 0
    result = run("verify", tmp_path)
    assert result.status == 65, result.stderr
    assert result.stdout == "damaged model.bin: is a web page, not what its name says\n"


def test_the_entry_point_of_kserve_looks_as_well(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.tar.gz", PAGE, headers=HTML)
    result = run("kserve", url, tmp_path)
    assert result.status == 65, result.stderr
    assert "model.tar.gz is a web page" in result.last_line
    plain = own_web.put("model.bin", b"\x80\x02", headers=HTML)
    result = run("kserve", plain, tmp_path)
    assert result.status == 0, result.stderr
    assert "1 downloaded, not verified (the source publishes no checksum)" in result.stderr


def test_nothing_is_called_verified_that_only_has_the_right_size(own_web: BrokenWeb, tmp_path: Path) -> None:
    result = run("download", own_web.put("model.bin", b"\x80\x02"), tmp_path)
    assert result.status == 0, result.stderr
    checked = run("verify", tmp_path)
    for told in (result.stderr, checked.stderr):
        assert "not verified (the source publishes no checksum)" in told
        assert "size only" not in told
        assert "verified by" not in told


def test_a_file_that_does_not_begin_as_its_name_says_is_refused_before_the_rest_comes(
    own_web: BrokenWeb, tmp_path: Path
) -> None:
    size = 64 << 20
    url = own_web.put("model.gguf", bytes(size))
    result = run("download", url, tmp_path, extra={"AIM_CONNECTIONS": "1"})
    assert result.status == 65, result.stderr
    assert own_web.log.sent() < size
    assert "does not begin as a .gguf file does" in result.last_line
    assert "attempt 2 of" not in result.stderr
