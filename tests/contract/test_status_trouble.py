"""The status while the API server refuses, hangs or vanishes: best effort, quiet, and never in the download's way."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from downloader.artifact import Phase
from downloader.errors import Category
from downloader.reporters.kubernetes import ClusterAccess, KubernetesReporter
from downloader.reporters.kubernetes.cadence import Cadence
from tests.contract.operator_log import BOTH_STATES, filed
from tests.contract.test_status import DONE, DOWNLOADING, GIB, LISTING, VERIFYING
from tests.servers.certificates import Authority
from tests.servers.kubernetes import KubernetesServer
from tests.servers.kubernetes_pod import Pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAILED = replace(LISTING, phase=Phase.FAILED, message="over")
NUMBERS = [replace(DOWNLOADING, done_bytes=GIB + step) for step in range(1, 200)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KubernetesServer]:
    with KubernetesServer(Authority(tmp_path / "authority")) as server:
        server.create_artifact("models", "llama")
        yield server


@pytest.fixture
def pod(server: KubernetesServer, tmp_path: Path) -> Pod:
    return Pod(server, tmp_path / "serviceaccount")


@pytest.fixture
def access(server: KubernetesServer, pod: Pod) -> ClusterAccess:
    return ClusterAccess(
        host=server.host,
        port=server.port,
        namespace="models",
        name="llama",
        interval=0.05,
        service_account=pod.service_account,
    )


def report_to(access: ClusterAccess, patience: float = 5) -> KubernetesReporter:
    """Return a reporter that waits shorter than in earnest after the first trouble."""
    return KubernetesReporter(access, cadence=Cadence(access.interval, first_pause=0.1), patience=patience)


@pytest.fixture
def reporter(access: ClusterAccess, server: KubernetesServer) -> Iterator[KubernetesReporter]:
    reporter = report_to(access)
    yield reporter
    server.behave()
    reporter.close(FAILED)


def wait(server: KubernetesServer, **expected: Any) -> None:
    server.wait_for_status("models", "llama", expected)


def statuses(server: KubernetesServer) -> list[int | None]:
    return [exchange.status for exchange in server.exchanges]


def test_each_patch_is_a_merge_patch_of_the_status_and_names_only_our_keys(
    server: KubernetesServer, reporter: KubernetesReporter
) -> None:
    reporter.report(DOWNLOADING)
    wait(server, progress={"percentage": 25})

    (request,) = [exchange.request for exchange in server.exchanges]
    assert request.method == "PATCH"
    assert request.parts[-3:] == ("aimartifacts", "llama", "status")
    assert request.headers["content-type"] == "application/merge-patch+json"
    assert request.query == {"fieldManager": "artifact-downloader"}
    assert set(request.json) == {"status"}
    assert set(request.json["status"]) == {"progress", "download"}
    assert set(request.json["status"]["progress"]) == {
        "totalBytes",
        "downloadedBytes",
        "percentage",
        "displayPercentage",
        "message",
    }


def test_no_state_ever_has_100_percent_and_a_progress_message(
    server: KubernetesServer, reporter: KubernetesReporter
) -> None:
    stuck = "fsync takes 301 s"
    reporter.report(replace(DOWNLOADING, stuck_volume=stuck))
    wait(server, progress={"message": stuck})
    reporter.report(replace(VERIFYING, stuck_volume=stuck))
    wait(server, progress={"percentage": 100})

    first = next(state for state in server.history("models", "llama") if state["progress"]["percentage"] == 100)
    assert "message" not in first["progress"]


def test_many_snapshots_become_few_patches_of_the_newest_state(server: KubernetesServer, access: ClusterAccess) -> None:
    reporter = report_to(replace(access, interval=30.0))
    for snapshot in NUMBERS:
        reporter.report(snapshot)
    reporter.close(DONE)

    assert len(server.exchanges) <= 2
    assert server.history("models", "llama")[-1]["progress"]["percentage"] == 100


def test_numbers_are_patched_again_after_the_interval_and_not_before(
    server: KubernetesServer, access: ClusterAccess
) -> None:
    reporter = report_to(replace(access, interval=0.3))
    reporter.report(DOWNLOADING)
    wait(server, progress={"downloadedBytes": GIB})
    for snapshot in NUMBERS:
        reporter.report(snapshot)
    wait(server, progress={"downloadedBytes": NUMBERS[-1].done_bytes})
    first, second = (exchange.at for exchange in server.exchanges)
    reporter.close(DONE)

    assert second - first >= 0.3


def test_a_token_that_is_not_accepted_is_read_again(
    server: KubernetesServer, reporter: KubernetesReporter, pod: Pod
) -> None:
    server.expire(pod.token)
    reporter.report(DOWNLOADING)
    server.wait_for(lambda: statuses(server) == [401])
    pod.refresh()
    wait(server, progress={"percentage": 25})

    assert statuses(server) == [401, 200]


def test_a_token_that_the_kubelet_replaced_is_used_from_then_on(
    server: KubernetesServer, reporter: KubernetesReporter, pod: Pod
) -> None:
    reporter.report(DOWNLOADING)
    wait(server, progress={"percentage": 25})
    old = pod.token
    pod.refresh()
    server.expire(old)
    reporter.report(VERIFYING)
    wait(server, progress={"percentage": 100})

    assert statuses(server) == [200, 200]


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_after_trouble_the_newest_state_is_written(
    server: KubernetesServer, reporter: KubernetesReporter, status: int
) -> None:
    server.answer(status, times=1)
    reporter.report(LISTING)
    server.wait_for(lambda: len(server.exchanges) == 1)
    reporter.report(DOWNLOADING)
    reporter.report(VERIFYING)
    wait(server, progress={"percentage": 100})

    assert statuses(server) == [status, 200]
    assert [state["progress"]["percentage"] for state in server.history("models", "llama")] == [100]


def test_retry_after_is_obeyed_even_if_the_run_changes_its_stage(
    server: KubernetesServer, reporter: KubernetesReporter
) -> None:
    server.answer(429, times=1, retry_after=2)
    reporter.report(LISTING)
    server.wait_for(lambda: len(server.exchanges) == 1)
    reporter.report(DOWNLOADING)
    wait(server, progress={"percentage": 25})

    first, second = (exchange.at for exchange in server.exchanges)
    assert second - first >= 2


def test_a_server_that_vanished_gets_the_newest_state_when_it_is_back(
    server: KubernetesServer, reporter: KubernetesReporter
) -> None:
    reporter.report(LISTING)
    wait(server, progress={"percentage": 0})
    server.refuse()
    reporter.report(DOWNLOADING)
    reporter.report(VERIFYING)
    server.accept()
    wait(server, progress={"percentage": 100})


def test_the_ca_is_read_again_when_it_does_not_fit_any_more(
    server: KubernetesServer, reporter: KubernetesReporter, pod: Pod, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reporter.report(LISTING)
    wait(server, progress={"percentage": 0})
    server.replace_authority(Authority(tmp_path / "next"))
    reporter.report(DOWNLOADING)
    until(lambda: "does not fit" in caplog.text)
    pod.refresh()
    wait(server, progress={"percentage": 25})


def test_a_role_that_is_bound_too_late_is_enough_for_the_final_state(
    server: KubernetesServer, access: ClusterAccess
) -> None:
    reporter = report_to(access)
    server.answer(403, times=1)
    reporter.report(LISTING)
    server.wait_for(lambda: len(server.exchanges) == 1)
    reporter.close(DONE)

    assert server.history("models", "llama")[-1]["progress"]["percentage"] == 100


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_told_once_and_not_asked_for_again_soon(
    server: KubernetesServer, access: ClusterAccess, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer(status)
    reporter = report_to(access)
    reporter.report(LISTING)
    until(lambda: bool(caplog.records))
    for snapshot in (DOWNLOADING, VERIFYING, *NUMBERS):
        reporter.report(snapshot)
    reporter.close(DONE)

    assert statuses(server) == [status, status], "one at first, one for the final state"
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_object_that_was_deleted_is_no_trouble(
    server: KubernetesServer, access: ClusterAccess, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = report_to(access)
    reporter.report(DOWNLOADING)
    wait(server, progress={"percentage": 25})
    server.delete_artifact("models", "llama")
    reporter.report(VERIFYING)
    until(lambda: "is gone" in caplog.text)
    reporter.close(DONE)

    assert statuses(server) == [200, 404, 404]


@pytest.mark.parametrize("trouble", [401, 403, 404, 409, 429, 500, "a patch that it does not take"])
def test_no_warning_can_be_taken_for_the_reason_of_a_failed_download(
    server: KubernetesServer, access: ClusterAccess, caplog: pytest.LogCaptureFixture, trouble: int | str
) -> None:
    caplog.set_level(logging.DEBUG)
    if isinstance(trouble, int):
        server.answer(trouble)
    snapshot = DOWNLOADING if isinstance(trouble, int) else replace(DOWNLOADING, attempt=1 << 40)
    reporter = report_to(access)
    reporter.report(snapshot)
    until(lambda: any(record.name.startswith("downloader") for record in caplog.records))
    server.behave()
    reporter.close(DONE)

    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("downloader")]
    assert [filed(warning, newest=newest) for newest in BOTH_STATES] == [Category.OTHER, Category.OTHER]
    assert not any(trap in warning.lower() for trap in ("forbidden", "not found", "403", "404", "llama"))


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
def test_a_pod_without_its_files_runs_all_the_same(
    access: ClusterAccess, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    (access.service_account / missing).unlink()
    reporter = report_to(access, patience=1)
    reporter.report(DOWNLOADING)
    until(lambda: bool(caplog.records))
    reporter.close(DONE)

    (warning,) = [record.getMessage() for record in caplog.records]
    assert str(access.service_account / missing) in warning
    assert [filed(warning, newest=newest) for newest in BOTH_STATES] == [Category.OTHER, Category.OTHER]


def test_the_token_gets_into_no_log_at_any_level(
    server: KubernetesServer, access: ClusterAccess, pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer(500, times=1)
    reporter = report_to(access)
    reporter.report(DOWNLOADING)
    server.wait_for(lambda: len(server.exchanges) == 1)
    reporter.close(DONE)

    assert server.exchanges[-1].request.headers["authorization"] == f"Bearer {pod.token}"
    assert pod.token not in caplog.text
    assert pod.token not in repr(access)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_the_api_server_is_never_asked_through_a_proxy(
    server: KubernetesServer, reporter: KubernetesReporter, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    reporter.report(DOWNLOADING)
    wait(server, progress={"percentage": 25})


def test_a_hanging_server_neither_blocks_a_report_nor_holds_up_the_end_for_long(
    server: KubernetesServer, access: ClusterAccess
) -> None:
    server.hang()
    reporter = report_to(access, patience=1)
    started = time.monotonic()
    for snapshot in NUMBERS:
        reporter.report(snapshot)
    reported = time.monotonic()
    reporter.close(DONE)

    assert reported - started < 1
    assert time.monotonic() - reported < 3


def test_a_server_that_is_gone_does_not_hold_up_the_end_for_long(
    server: KubernetesServer, access: ClusterAccess
) -> None:
    server.refuse()
    started = time.monotonic()
    report_to(access, patience=1).close(DONE)

    assert time.monotonic() - started < 3


def test_a_hanging_request_is_given_up_and_the_newest_state_is_written(
    server: KubernetesServer, access: ClusterAccess
) -> None:
    server.hang(times=1)
    reporter = report_to(access, patience=0.3)
    reporter.report(DOWNLOADING)
    wait(server, progress={"percentage": 25})
    reporter.close(DONE)

    assert statuses(server)[:2] == [None, 200]


def test_the_final_state_does_not_wait_for_a_pause_that_is_longer_than_its_time(
    server: KubernetesServer, access: ClusterAccess
) -> None:
    server.answer(429, retry_after=60)
    reporter = report_to(access)
    reporter.report(LISTING)
    server.wait_for(lambda: len(server.exchanges) == 1)
    started = time.monotonic()
    reporter.close(DONE)

    assert time.monotonic() - started < 2
    assert statuses(server) == [429, 429]


def test_the_final_state_gets_through_short_trouble(server: KubernetesServer, access: ClusterAccess) -> None:
    server.answer(500, times=2)
    report_to(access).close(DONE)

    assert statuses(server) == [500, 500, 200]
    assert server.history("models", "llama")[-1]["progress"]["percentage"] == 100


def test_without_a_report_nothing_is_sent_and_no_thread_runs(server: KubernetesServer, access: ClusterAccess) -> None:
    threads = threading.active_count()
    report_to(access)

    assert threading.active_count() == threads
    assert server.exchanges == []


def until(condition: Any, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)
