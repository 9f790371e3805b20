"""The last three lines of a failing run: where no word of the log says more, they are all that people are shown."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

import pytest

from downloader.engine.attempts import decisive_failure
from downloader.errors import (
    AccessDenied,
    Category,
    ConnectionBroken,
    DownloadError,
    IntegrityError,
    ProtocolFailed,
    SourceNotFound,
    explained,
)
from tests.command import run, run_until
from tests.contract.operator_log import BOTH_STATES, filed
from tests.servers.blobs import Noise
from tests.servers.faults import Answer, Flip, Stall, web_page

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.faults import Fault
    from tests.servers.hub import Hub

FOREVER = float("inf")
TOKEN = "hf_canarycanarycanary"
NOT_FETCHED, FETCHED = "another run fails the same way", "the next run fetches only what is missing"
SAME = "another run finds the same until the source has changed"
NOT_LISTED = "the next run lists the source again"

FAILURES: dict[str, tuple[str, Fault | None, int, Category, str]] = {
    "a missing repository": ("hf://org/nothing", None, 66, Category.NOT_FOUND, NOT_FETCHED),
    "a stall": ("hf://org/model", Stall(after=0), 75, Category.OTHER, FETCHED),
    "damaged bytes": ("hf://org/model", Flip(after=1 << 20), 65, Category.OTHER, FETCHED),
    "a failing server": ("hf://org/model", Answer(500), 69, Category.OTHER, FETCHED),
}


@pytest.mark.parametrize("what", FAILURES)
def test_each_of_the_last_three_lines_tells_something_of_the_one_reason(what: str, hub: Hub, tmp_path: Path) -> None:
    uri, fault, status, category, advice = FAILURES[what]
    hub.tokens[TOKEN] = "alice"
    hub.create("org/model").commit({"a.bin": Noise(9 << 20, seed=8), "model-00403-of-01000.bin": b"{}"})
    if fault is not None:
        hub.faults.add(fault, route="cdn", times=FOREVER)
    extra = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "STALL_TIMEOUT": "1.5", "PROGRESS_INTERVAL": "60"}
    pods = [
        run("download", uri, tmp_path / "t", extra={**extra, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER,HTTP"})
        for _ in range(2)
    ]
    for pod in pods:
        assert pod.status == status, pod.stderr
        summary, where, reason = pod.stderr.splitlines()[-3:]
        assert "failed after" in summary
        assert f"{uri} to {tmp_path}/t: exit status {status} ({explained(status)}), {advice}" in where.replace("·", "")
        assert ("switching to HTTP" in where) is (fault is not None)
        assert reason == pod.last_line
        assert all(TOKEN not in line for line in (summary, where, reason))
        for newest, line in itertools.product(BOTH_STATES, (summary, where)):
            assert filed(line, newest=newest) in (Category.OTHER, category)
        assert [filed(pod.stderr, newest=newest) for newest in BOTH_STATES] == [category] * 2


UNLISTED: dict[str, tuple[Fault, int, str]] = {
    "a page for a model": (web_page(), 65, SAME),
    "a failing server": (Answer(503), 69, NOT_LISTED),
}


@pytest.mark.parametrize("what", UNLISTED)
def test_what_fails_before_the_listing_promises_no_partial_download(
    what: str, own_web: BrokenWeb, tmp_path: Path
) -> None:
    fault, status, advice = UNLISTED[what]
    own_web.faults.add(fault, times=FOREVER)
    result = run_until(status, "download", own_web.url("model.bin"), tmp_path / "t")
    assert result.status == status, result.stderr
    summary, where, _ = result.stderr.splitlines()[-3:]
    assert "before the download began" in summary
    assert f"exit status {status} ({explained(status)}), {advice}" in where


def test_a_page_among_the_files_of_a_folder_promises_nothing_either(own_web: BrokenWeb, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><title>Log in</title>"
    own_web.put("m/a.bin", page)
    own_web.put("m/SHA256SUMS", f"{hashlib.sha256(page).hexdigest()}  a.bin\n".encode())
    result = run("download", own_web.url("m/"), tmp_path / "t")
    assert result.status == 65, result.stderr
    assert f"exit status 65 ({explained(65)}), {SAME}" in result.stderr


def test_of_several_failures_the_same_one_counts_whichever_came_first() -> None:
    failures: dict[str, DownloadError] = {
        "a": ConnectionBroken("a"),
        "b": AccessDenied("b"),
        "c": ProtocolFailed("c"),
        "d": SourceNotFound("d"),
        "e": IntegrityError("e"),
        "f": IntegrityError("f"),
    }
    for some in (failures, {path: failures[path] for path in "acef"}, {path: failures[path] for path in "ac"}):
        found = {decisive_failure(dict(order)).message for order in itertools.permutations(some.items())}
        assert len(found) == 1, found
    assert decisive_failure(failures).category is not Category.OTHER
    assert decisive_failure({path: failures[path] for path in "acef"}).message == "e"


def test_of_many_files_that_fail_alike_a_few_are_told(own_web: BrokenWeb, tmp_path: Path) -> None:
    names = [f"part-{number:02}.txt" for number in range(12)]
    own_web.put("folder/SHA256SUMS", "".join(f"{'0' * 64}  {name}\n" for name in names).encode())
    for name in names:
        own_web.put(f"folder/{name}", name.encode())
    result = run("download", own_web.url("folder/"), tmp_path / "t", extra={"AIM_DOWNLOADER_PROTOCOL": "HTTP"})
    assert result.status == 65, result.stderr
    assert result.stderr.count("not fetched: ") == 5
    assert "0 of 12 files" in result.stderr
