"""Several processes on one volume, together with what else a run can be asked for."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.command import PEOPLE, finish, model, start
from tests.contract.test_kserve import packed
from tests.formats import files as made
from tests.servers.blobs import Noise

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Result
    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub
    from tests.signing.signers import KeyOwner

MIB = 1 << 20
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model-00001-of-00002.safetensors": Noise(24 * MIB, seed=171).bytes(),
    "model-00002-of-00002.safetensors": Noise(9 * MIB + 3, seed=172).bytes(),
}
WAYS = ["one run", "two pods"]


def together(way: str, *arguments: str | Path, extra: dict[str, str]) -> list[Result]:
    """Return the results of two processes of one run, or of two pods."""
    each = (
        [{"AIM_PROCESSES": "2"}]
        if way == "one run"
        else [{"AIM_DOWNLOADER_SHARDS": "2", "JOB_COMPLETION_INDEX": str(index)} for index in range(2)]
    )
    own = {"AIM_LOG_LEVEL": "debug", "AIM_BANDWIDTH": "24M"}
    results = [finish(run) for run in [start(*arguments, extra={**extra, **own, **one}) for one in each]]
    assert any("claimed" in result.stderr for result in results)
    assert not any("go on without" in result.stderr for result in results), results[0].stderr
    return results


def published(results: list[Result]) -> None:
    assert [result.status for result in results] == [0] * len(results), "\n".join(each.stderr for each in results)


def place(tmp_path: Path, *, cached: bool) -> tuple[str | Path, ...]:
    return ("--hub-cache", tmp_path / "cache") if cached else (tmp_path / "m",)


@pytest.mark.parametrize("way", WAYS)
def test_an_archive_for_kserve_is_compared_once_it_is_unpacked(own_web: BrokenWeb, tmp_path: Path, way: str) -> None:
    url = own_web.put("model.tar.gz", packed(FILES))
    listed = "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in FILES.items())
    (tmp_path / "list").write_text(listed)
    extra = {"AIM_EXPECTED_LIST": str(tmp_path / "list")}
    published(together(way, "kserve", url, tmp_path / "m", extra=extra))
    assert model(tmp_path / "m") == FILES


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cached", [False, True], ids=["in a folder", "in a cache"])
def test_a_signed_model(hub: Hub, owner: KeyOwner, tmp_path: Path, way: str, *, cached: bool) -> None:
    repository = hub.create("org/model")
    signed = owner.publish(tmp_path / "signed", FILES)
    repository.commit(signed)
    options = (*place(tmp_path, cached=cached), "--signer-key", owner.trusted)
    extra = {**PEOPLE, "HF_ENDPOINT": hub.endpoint}
    published(together(way, "download", "hf://org/model", *options, extra=extra))
    repository.commit({"config.json": b"{}"})
    results = together(way, "download", "hf://org/model", *options, extra=extra)
    assert [result.status for result in results] == [65] * len(results), "\n".join(each.stderr for each in results)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cached", [False, True], ids=["in a folder", "in a cache"])
def test_a_model_that_may_run_code(hub: Hub, tmp_path: Path, way: str, *, cached: bool) -> None:
    hub.create("org/model").commit({**FILES, "m.bin": made.harmful(tmp_path / "canary")})
    extra = {**PEOPLE, "HF_ENDPOINT": hub.endpoint, "AIM_FORMATS": "safe"}
    results = together(way, "download", "hf://org/model", *place(tmp_path, cached=cached), extra=extra)
    assert [result.status for result in results] == [65] * len(results), "\n".join(each.stderr for each in results)
    assert not list(tmp_path.glob("cache/*/refs/*"))
    assert not (tmp_path / "m/.artifact.sha256").exists()


def test_mirrors_of_what_goes_into_a_cache(hub: Hub, own_web: BrokenWeb, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    for path, data in FILES.items():
        own_web.put(f"m/{path}", data)
    extra = {**PEOPLE, "HF_ENDPOINT": hub.endpoint, "AIM_MIRRORS": own_web.url("m/")}
    report = tmp_path / "report.json"
    options = (*place(tmp_path, cached=True), "--mirror-first", "--report", report)
    published(together("one run", "download", "hf://org/model", *options, extra=extra))
    assert not hub.log.sent("cdn")
    assert {file["path"]: file["place"] for file in json.loads(report.read_text())["files"]} == dict.fromkeys(
        FILES, own_web.url("m/")
    )
