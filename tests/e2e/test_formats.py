"""`--formats`: what may run code when a model is loaded is named or refused before it is published, and never run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED

import pytest

from downloader.errors import Category
from tests.adapters.jobs import FILES as ADAPTER
from tests.adapters.jobs import AdapterJobs
from tests.command import PEOPLE, Result, model, run
from tests.contract.operator_log import BOTH_STATES, filed
from tests.contract.test_kserve import packed
from tests.formats import files as made
from tests.servers.faults import FOREVER, Held

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.hub import Hub

MIB = 1 << 20
MARK = ".artifact.sha256"
SAFE = {"config.json": b'{"model_type": "llama"}', "model.safetensors": made.safetensors()}


def download(hub: Hub, tmp_path: Path, *options: str | Path, **extra: str) -> Result:
    return run("download", "hf://org/model", tmp_path / "out", *options, extra={"HF_ENDPOINT": hub.endpoint, **extra})


def refused(result: Result, tmp_path: Path) -> str:
    assert result.status == 65, result.stderr
    assert not (tmp_path / "out" / MARK).exists()
    for newest in BOTH_STATES:
        assert filed(result.stderr, newest=newest) is Category.OTHER
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "canary").exists()
    return result.last_line


def test_safe_publishes_nothing_that_may_run_code(hub: Hub, tmp_path: Path) -> None:
    harmful = made.harmful(tmp_path / "canary")
    files = {
        **SAFE,
        "pytorch_model.bin": made.zipped({"data.pkl": harmful}, ZIP_DEFLATED),
        "m.npy": made.array_of_objects(harmful),
    }
    hub.create("org/model").commit(files)
    report = tmp_path / "report.json"
    line = refused(download(hub, tmp_path, "--formats", "safe", "--report", report), tmp_path)
    assert "2 files may run code with the model" in line
    assert "posix.system" in line
    assert "--exclude" in line
    told = {(item["path"], item["refused"]) for item in json.loads(report.read_text())["formats"]}
    assert told == {("pytorch_model.bin", True), ("m.npy", True)}
    again = refused(download(hub, tmp_path, AIM_FORMATS="safe"), tmp_path)
    assert "posix.system" in again
    without = download(hub, tmp_path, "--formats", "safe", "--exclude", "*.bin", "--exclude", "*.npy")
    assert (without.status, "formats: no file that may run code" in without.stderr) == (0, True), without.stderr


BEGINNINGS: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    "a pickle": ("model.bin", made.harmful, "imports posix.system"),
    "an archive of torch": ("model.bin", lambda canary: made.torch_zip(made.harmful(canary)), "imports posix.system"),
    "a header of safetensors": (
        "model.safetensors",
        lambda _: made.safetensors({"w": made.tensor("F33", [2], [0, 8])}),
        "unknown dtype",
    ),
    "a header of GGUF": ("model.gguf", lambda _: made.gguf(offset=1 << 40), "a tensor outside the file"),
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_safe_ends_when_the_beginning_of_a_file_says_enough(beginning: str, hub: Hub, tmp_path: Path) -> None:
    name, make, words = BEGINNINGS[beginning]
    hub.create("org/model").commit({**SAFE, name: make(tmp_path / "canary") + bytes(48 * MIB)})
    hub.faults.add(Held(), route="cdn", offset=20 * MIB, times=FOREVER)  # no run gets any further
    for _ in range(2):
        line = refused(download(hub, tmp_path, "--formats", "safe", "--connections", "1"), tmp_path)
        assert words in line
        assert "the rest was not fetched" in line
    assert hub.log.sent("cdn") <= 2 * 20 * MIB


def test_what_the_names_of_a_listing_say_is_refused_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({**SAFE, "m.py": b"import os", "sub/n.py": b"import os"})
    line = refused(download(hub, tmp_path, "--formats", "safe"), tmp_path)
    assert "2 files may run code" in line
    assert "the rest was not fetched" in line
    assert not hub.log.records("cdn")
    assert not hub.log.records("resolve")


def test_an_archive_for_kserve_is_not_judged_before_it_is_unpacked(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.tar.gz", packed({**SAFE, "weights.bin": bytes(2 * MIB)}))
    result = run("kserve", url, tmp_path / "out", extra={"AIM_FORMATS": "safe"})
    assert (result.status, "formats: no file" in result.stderr) == (0, True), result.stderr


def test_warn_names_what_may_run_code_and_publishes_it(hub: Hub, tmp_path: Path) -> None:
    files = {**SAFE, "a.pkl": made.harmful(tmp_path / "canary", 4), "m.gguf": made.gguf("{{ ''.__class__ }}")}
    hub.create("org/model").commit(files)
    report = tmp_path / "report.json"
    result = download(hub, tmp_path, "--formats", "warn", "--report", report)
    assert result.status == 0, result.stderr
    assert "formats: a.pkl is a pickle that imports posix.system" in result.stderr
    assert "formats: m.gguf has a chat template" in result.stderr
    assert [item["refused"] for item in json.loads(report.read_text())["formats"]] == [True, False]
    assert model(tmp_path / "out") == files


def test_a_finished_volume_is_assessed_where_that_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({**SAFE, "a.bin": made.harmful(tmp_path / "canary")})
    assert download(hub, tmp_path).status == 0
    for result in (
        download(hub, tmp_path, "--formats", "safe"),
        run("verify", tmp_path / "out", "--formats", "safe", extra=PEOPLE),
    ):
        assert (result.status, "posix.system" in result.last_line) == (65, True), result.stderr
    warned = run("verify", tmp_path / "out", extra={**PEOPLE, "AIM_FORMATS": "warn"})
    assert (warned.status, "formats: a.bin" in warned.stderr) == (0, True), warned.stderr
    assert not (tmp_path / "canary").exists()


def test_verify_assesses_what_lies_beside_the_model(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(SAFE)
    assert download(hub, tmp_path, "--formats", "safe").status == 0
    (tmp_path / "out/added.py").write_text("import os")
    result = run("verify", tmp_path / "out", "--formats", "safe", extra=PEOPLE)
    assert (result.status, "added.py is source" in result.last_line) == (65, True), result.stderr


def test_a_cache_gets_no_snapshot_of_what_may_run_code(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({**SAFE, "m.py": b"import os"})
    cache = tmp_path / "cache"
    options = "hf://org/model", f"--hub-cache={cache}", "--formats", "safe"
    result = run("download", *options, extra={"HF_ENDPOINT": hub.endpoint})
    assert (result.status, "m.py is source" in result.last_line) == (65, True), result.stderr
    assert not list(cache.rglob("snapshots/*/*"))
    result = run("download", *options, "--exclude", "*.py", extra={"HF_ENDPOINT": hub.endpoint})
    assert (result.status, "formats: no file" in result.stderr) == (0, True), result.stderr


def test_what_is_in_an_archive_of_kserve_is_assessed(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.tar.gz", packed({**SAFE, "a.bin": made.harmful(tmp_path / "canary")}))
    extra = {"AIM_FORMATS": "safe"}
    assert "a.bin is a pickle" in refused(run("kserve", url, tmp_path / "out", extra=extra), tmp_path)
    url = own_web.put("safe.tar.gz", packed(SAFE))
    for _ in range(2):
        result = run("kserve", url, tmp_path / "safe", extra=extra)
        assert (result.status, "formats: no file" in result.stderr) == (0, True), result.stderr
    (tmp_path / "safe/added.py").write_text("import os")
    result = run("kserve", url, tmp_path / "safe", extra=extra)
    assert (result.status, "added.py is source" in result.last_line) == (65, True), result.stderr


def test_an_adapter_that_may_run_code_does_not_go_live(hub: Hub, tmp_path: Path) -> None:
    jobs = AdapterJobs(tmp_path / "pod")
    jobs.extra = {"HF_ENDPOINT": hub.endpoint, "AIM_FORMATS": "safe"}
    repository = hub.create("org/lora")
    repository.commit({**ADAPTER, "adapter_model.safetensors": made.safetensors(), "m.py": b"import os"})
    result = jobs.stage("hf://org/lora")
    assert (result.status, "m.py is source" in result.stderr) == (65, True), result.stderr
    assert not [path for path in jobs.disk.rglob("*") if path.name == "lora"]
    repository.commit({"m.py": None})
    result = jobs.stage("hf://org/lora")
    assert (result.status, "formats: no file" in result.stderr) == (0, True), result.stderr
