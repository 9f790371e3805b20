"""`--expect-digest` and `--expect-list`: nothing is published but what was signed off."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

import downloader
from tests.command import PEOPLE, Result, model, run
from tests.contract.test_kserve import packed
from tests.e2e.test_artifact_digest import DIGEST, FILES, digest_of
from tests.needs import extended_attributes
from tests.servers.blobs import Noise
from tests.servers.published import checksums
from tests.servers.s3 import fill_bucket, new_bucket

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

OTHER = "sha256:" + "0123456789abcdef" * 4
MARK = ".artifact.sha256"
CHANGED = {**FILES, "config.json": b"[]"}


@pytest.fixture
def stocked(hub: Hub) -> dict[str, str]:
    hub.create("org/model").commit(FILES)
    return {"HF_ENDPOINT": hub.endpoint}


def refused(result: Result, *words: str) -> None:
    """The run ends with status 65 and one line that has these words and says what to do."""
    assert result.status == 65, result.stderr
    assert all(word in result.last_line for word in words), result.last_line
    assert "--expect-" in result.last_line


def written(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(checksums(files))
    return path


def asked(web: BrokenWeb) -> list[str]:
    return [record.request.path for record in web.log.records(method="GET")]


def git_name(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def test_what_was_signed_off_is_published(stocked: dict[str, str], tmp_path: Path) -> None:
    listed = written(tmp_path / "list", FILES)
    for option in (("--expect-digest", DIGEST), ("--expect-list", listed)):
        for _ in range(2):
            result = run("download", "hf://org/model", tmp_path / "t", *option, extra=stocked)
            assert result.status == 0, result.stderr
        assert run("verify", tmp_path / "t", *option).status == 0
    environ = {**stocked, "AIM_EXPECTED_DIGEST": DIGEST.upper().replace("SHA", "sha"), "AIM_EXPECTED_LIST": str(listed)}
    assert run("download", "hf://org/model", tmp_path / "t", extra=environ).status == 0
    assert downloader.verify(tmp_path / "t", environ={}, expect_digest=DIGEST, expect_list=listed).digest == DIGEST


def test_another_artifact_is_downloaded_but_not_published(stocked: dict[str, str], tmp_path: Path) -> None:
    result = run("download", "hf://org/model", tmp_path, "--expect-digest", OTHER, extra=stocked)
    refused(result, DIGEST, OTHER, "nothing was published")
    assert not (tmp_path / MARK).exists()
    again = run("download", "hf://org/model", tmp_path, "--expect-digest", OTHER, "--log-level", "debug", extra=stocked)
    refused(again, DIGEST, OTHER)
    assert "0 B on the volume" not in again.stderr
    assert "attempt 1 of" not in again.stderr  # the files are kept, and are not fetched again
    right = run("download", "hf://org/model", tmp_path, "--expect-digest", DIGEST, extra=stocked)
    assert right.status == 0, right.stderr
    assert "attempt 1 of" not in right.stderr
    assert model(tmp_path) == FILES


def test_a_listing_that_shows_it_ends_the_run_before_the_first_byte(own_web: BrokenWeb, tmp_path: Path) -> None:
    for path, data in {**FILES, MARK: checksums(FILES)}.items():
        own_web.put(f"m/{path}", data)
    refused(run("download", own_web.url("m/"), tmp_path, "--expect-digest", OTHER), DIGEST, OTHER)
    refused(run("download", own_web.url("m/"), tmp_path, "--dry-run", "--expect-digest", OTHER), DIGEST, OTHER)
    assert not list(tmp_path.iterdir())
    assert not [path for path in asked(own_web) if path.endswith("model.safetensors")]


def test_a_finished_volume_is_compared_too(stocked: dict[str, str], hub: Hub, tmp_path: Path) -> None:
    assert run("download", "hf://org/model", tmp_path, extra=stocked).status == 0
    asked_for = hub.log.sent()
    (tmp_path / ".downloading").mkdir()  # as another run leaves it for the moment in which it ends
    refused(run("download", "hf://org/model", tmp_path, "--expect-digest", OTHER, extra=stocked), DIGEST, OTHER)
    assert not (tmp_path / ".downloading").exists()
    refused(run("verify", tmp_path, "--expect-digest", OTHER), DIGEST, OTHER)
    assert "nothing was published" not in run("verify", tmp_path, "--expect-digest", OTHER).last_line
    listed = written(tmp_path.with_suffix(".list"), CHANGED)
    refused(run("verify", tmp_path, "--expect-list", listed), "different: config.json")
    result = run("verify", tmp_path, "--expect-digest", DIGEST, "--include", "config.json")
    refused(result, "1 file of")
    assert run("verify", tmp_path, "--expect-list", written(listed, FILES), "--include", "config.json").status == 0
    assert hub.log.sent() - asked_for < 100_000
    (tmp_path / "config.json").write_bytes(b"[]")
    assert run("verify", tmp_path, "--expect-digest", DIGEST).status == 65


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ({"config.json": b"{}"}, ("3 files not in the list: model.safetensors",)),
        ({**FILES, "more.json": b""}, ("1 file missing: more.json",)),
        (CHANGED, ("config.json", "expected list")),
    ],
)
def test_files_that_differ_from_a_list_are_named(
    stocked: dict[str, str], tmp_path: Path, listed: dict[str, bytes], words: tuple[str, ...]
) -> None:
    signed = written(tmp_path / "list", listed)
    result = run("download", "hf://org/model", tmp_path / "t", "--expect-list", signed, extra=stocked)
    assert result.status == 65, result.stderr
    assert all(word in result.last_line for word in words), result.last_line
    assert not (tmp_path / "t" / MARK).exists()


def test_filters_choose_from_a_list_as_from_the_artifact(stocked: dict[str, str], tmp_path: Path) -> None:
    signed = written(tmp_path / "list", FILES)
    for uri, options in (("hf://org/model", ("--exclude", "*.safetensors")), ("hf://org/model/sub", ())):
        target = tmp_path / uri.rpartition("/")[2]
        for _ in range(2):
            result = run("download", uri, target, *options, "--expect-list", signed, extra=stocked)
            assert result.status == 0, result.stderr


def test_a_list_proves_what_its_source_publishes_nothing_of(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.bin", Noise(100_000, seed=171).bytes())
    signed = {"model.bin": Noise(100_000, seed=171).bytes()}
    listed = own_web.put("lists/signed", checksums(signed))
    options = ("--require-digest", "--expect-list", listed)
    result = run("download", url, tmp_path, *options)
    assert result.status == 0, result.stderr
    assert "1 verified by sha256" in result.stderr
    own_web.put("model.bin", Noise(100_000, seed=172).bytes())
    result = run("download", url, tmp_path, *options)
    assert result.status == 0  # the volume has what was signed off
    result = run("download", url, tmp_path / "t", *options)
    assert result.status == 65
    assert "the expected list says" in result.last_line
    assert "model.bin" in result.last_line


def test_a_list_proves_the_files_of_a_folder_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/model.bin").write_bytes(Noise(100_000, seed=173).bytes())
    listed = written(tmp_path / "signed", {"model.bin": Noise(100_000, seed=173).bytes()})
    options = ("--require-digest", "--expect-list", listed)
    result = run("download", f"file://{tmp_path}/old", tmp_path / "new", *options)
    assert result.status == 0, result.stderr
    assert "1 verified by sha256" in result.stderr


@pytest.mark.parametrize("completion", ["file", "xattr"])
def test_a_bucket_is_compared_at_the_end(s3: S3Server, tmp_path: Path, completion: str) -> None:
    extended_attributes(tmp_path)
    bucket = new_bucket(s3.client())
    fill_bucket(s3.client(), bucket, {f"m/{path}": data for path, data in FILES.items()})
    extra = {**s3.environment(), "AIM_COMPLETION": completion}
    target = tmp_path / "t"
    refused(run("download", f"s3://{bucket}/m", target, "--expect-digest", OTHER, extra=extra), DIGEST, OTHER)
    assert run("digest", target).status == 65
    assert run("download", f"s3://{bucket}/m", target, "--expect-digest", DIGEST, extra=extra).status == 0
    refused(run("download", f"s3://{bucket}/m", target, "--expect-digest", OTHER, extra=extra), DIGEST, OTHER)
    listed = written(tmp_path / "list", FILES)
    assert run("verify", target, "--expect-list", listed, extra=extra).status == 0


def test_a_cache_of_the_hub_shows_no_snapshot_that_was_not_signed_off(stocked: dict[str, str], tmp_path: Path) -> None:
    def cached(*options: str | Path) -> Result:
        return run("download", "hf://org/model", "--hub-cache", tmp_path / "hub", *options, extra={**stocked, **PEOPLE})

    folder = tmp_path / "hub/models--org--model"
    refused(cached("--expect-digest", OTHER), DIGEST, OTHER)
    refused(cached("--expect-list", written(tmp_path / "short", {"config.json": b"{}"})), "not in the list")
    different = cached("--expect-list", written(tmp_path / "list", {**FILES, "sub/same.json": b"[]"}))
    assert different.status == 65
    assert not list((folder / "snapshots").iterdir())
    assert not (folder / "refs").exists()
    assert cached("--expect-digest", DIGEST).status == 0
    refused(cached("--expect-digest", OTHER), DIGEST, OTHER)
    assert cached("--expect-list", written(tmp_path / "list", FILES)).status == 0
    assert sorted(path.name for path in (folder / "blobs").iterdir()) == sorted(
        {
            hashlib.sha256(FILES["model.safetensors"]).hexdigest(),
            *(git_name(data) for data in FILES.values() if len(data) < 1000),
        }
    )
    refused(run("verify", folder, "--expect-digest", OTHER), DIGEST, OTHER)
    assert run("verify", folder, "--expect-digest", DIGEST, "--expect-list", tmp_path / "list").status == 0


def test_the_entry_points_of_kserve_and_of_adapters_compare_it(
    stocked: dict[str, str], own_web: BrokenWeb, tmp_path: Path
) -> None:
    url = own_web.put("model.tar.gz", packed(FILES))
    target, wrong, right = tmp_path / "m", {"AIM_EXPECTED_DIGEST": OTHER}, {"AIM_EXPECTED_DIGEST": DIGEST}
    refused(run("kserve", url, target, extra=wrong), DIGEST, OTHER)
    assert not (target / MARK).exists()
    for _ in range(2):
        assert run("kserve", url, target, extra=right).status == 0
    refused(run("kserve", url, target, extra=wrong), DIGEST, OTHER)
    listed = {"AIM_EXPECTED_LIST": str(written(tmp_path / "list", FILES))}
    assert run("kserve", url, target, extra=listed).status == 0
    two = run("kserve", url, target, url, tmp_path / "n", extra=right)
    assert (two.status, "2" in two.last_line) == (78, True)
    root = tmp_path / "disk"
    root.mkdir()
    stage = {**stocked, "ADAPTER_PVC_ROOT": str(root), "SERVICE_ID": "s", "ADAPTER_PATH": "a", "JOB_ID": "1"}
    refused(run("adapter-stage", "hf://org/model", extra={**stage, **wrong}), DIGEST, OTHER)
    assert not (root / "s/a").exists()
    assert run("adapter-stage", "hf://org/model", extra={**stage, **right}).status == 0
    assert model(root / "s/a") == FILES


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--expect-digest", "sha256:12", ("64 hexadecimal digits",)),
        ("--expect-digest", "0" * 64, ("`sha256:`",)),
        ("--expect-list", "", ("a file or a URI",)),
    ],
)
def test_a_malformed_value_is_one_clear_line(option: str, value: str, words: tuple[str, ...], tmp_path: Path) -> None:
    result = run("download", "hf://org/model", tmp_path, option, value, extra=PEOPLE)
    assert result.status == 64, result.stderr
    assert all(word in result.last_line for word in words), result.last_line
    if value:
        variable = "AIM_EXPECTED_DIGEST"
        result = run("download", "hf://org/model", tmp_path, extra={**PEOPLE, variable: value})
        assert result.status == 78, result.stderr
        assert variable in result.last_line


@pytest.mark.parametrize(
    ("content", "word"),
    [(None, "No such file"), (b"", "has no files"), (b"0" * 32 + b"  x\n", "MD5"), (b"\xff", "UTF-8")],
)
def test_a_list_that_cannot_be_used_is_one_clear_line(
    stocked: dict[str, str], tmp_path: Path, content: bytes | None, word: str
) -> None:
    listed = tmp_path / "list"
    if content is not None:
        listed.write_bytes(content)
    result = run("download", "hf://org/model", tmp_path / "t", "--expect-list", listed, extra=stocked)
    assert result.status == 78, result.stderr
    assert word in result.last_line
    assert "--expect-list" in result.last_line
    assert not (tmp_path / "t").exists()


def test_the_place_of_a_list_gets_no_secret_of_the_artifact(own_web: BrokenWeb, tmp_path: Path) -> None:
    other = own_web.put("list", checksums(FILES)).replace("127.0.0.1", "localhost")
    for path, data in FILES.items():
        own_web.put(f"m/{path}", data)
    own_web.put("m/SHA256SUMS", checksums(FILES))
    secret = {"AIM_HTTP_TOKEN": "canary-of-the-artifact", "AIM_HTTP_HEADERS": '{"X-Mine": "canary-header"}'}
    result = run("download", own_web.url("m/"), tmp_path, "--expect-list", other, extra=secret)
    assert result.status == 0, result.stderr
    assert "/list" in asked(own_web)
    told = {record.request.path for record in own_web.log.records() if "canary" in str(record.request.headers)}
    assert told
    assert "/list" not in told
    assert digest_of(FILES) in result.stderr
    missing = run("download", own_web.url("m/"), tmp_path / "u", "--expect-list", f"{other}?sig=canary-signature")
    assert "canary-signature" not in missing.stderr
