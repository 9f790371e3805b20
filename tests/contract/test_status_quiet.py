"""Whatever the API server does, the status is never in the download's way: no wait, no misleading line, no secret."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from downloader.errors import Category
from downloader.loading import LOADING
from downloader.reporters.kubernetes import KubernetesReporter
from tests.contract.operator_log import BOTH_STATES, filed
from tests.contract.status_runs import DONE, DOWNLOADING, FAILED, LISTING, NUMBERS, VERIFYING, report_to, statuses, wait
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from downloader.reporters.kubernetes import ClusterAccess
    from tests.servers.kubernetes import KubernetesServer
    from tests.servers.kubernetes_pod import Pod


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_told_once_and_not_asked_for_again_soon(
    api: KubernetesServer, access: ClusterAccess, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    api.answer(status)
    reporter = report_to(access)
    reporter.report(LISTING)
    assert eventually(lambda: bool(caplog.records))
    for snapshot in (DOWNLOADING, VERIFYING, *NUMBERS):
        reporter.report(snapshot)
    reporter.close(DONE)

    assert statuses(api) == [status, status], "one at first, one for the final state"
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_told_in_a_run_that_is_over_before_its_first_patch(
    api: KubernetesServer, access: ClusterAccess, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    api.answer(status)
    report_to(access).close(DONE)

    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("downloader")]
    assert ("there is no AIMArtifact" in warning) is (status == 404)


def test_an_object_that_was_deleted_is_no_error(
    api: KubernetesServer, access: ClusterAccess, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = report_to(access)
    reporter.report(DOWNLOADING)
    wait(api, progress={"percentage": 25})
    api.delete_artifact("models", "llama")
    reporter.report(VERIFYING)
    assert eventually(lambda: "there is no AIMArtifact" in caplog.text)
    reporter.close(DONE)

    assert statuses(api) == [200, 404, 404]


@pytest.mark.parametrize("problem", [401, 403, 404, 409, 429, 500, "a patch that it does not take"])
def test_no_warning_can_be_taken_for_the_reason_of_a_failed_download(
    api: KubernetesServer, access: ClusterAccess, caplog: pytest.LogCaptureFixture, problem: int | str
) -> None:
    caplog.set_level(logging.DEBUG)
    if isinstance(problem, int):
        api.answer(problem)
    snapshot = DOWNLOADING if isinstance(problem, int) else replace(DOWNLOADING, attempt=1 << 40)
    reporter = report_to(access)
    reporter.report(snapshot)
    assert eventually(lambda: any(record.name.startswith("downloader") for record in caplog.records))
    api.behave()
    reporter.close(DONE)

    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("downloader")]
    assert [filed(warning, newest=newest) for newest in BOTH_STATES] == [Category.OTHER, Category.OTHER]
    assert not any(trap in warning.lower() for trap in ("forbidden", "not found", "403", "404", "llama"))


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
def test_a_pod_without_its_files_runs_all_the_same(
    access: ClusterAccess, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    (access.service_account / missing).unlink()
    reporter = report_to(access, timeout=1)
    reporter.report(DOWNLOADING)
    assert eventually(lambda: bool(caplog.records))
    reporter.close(DONE)

    (warning,) = [record.getMessage() for record in caplog.records]
    assert str(access.service_account / missing) in warning
    assert [filed(warning, newest=newest) for newest in BOTH_STATES] == [Category.OTHER, Category.OTHER]


def test_the_token_gets_into_no_log_at_any_level(
    api: KubernetesServer, access: ClusterAccess, pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.answer(500, times=1)
    reporter = report_to(access)
    reporter.report(DOWNLOADING)
    api.wait_for(lambda: len(api.exchanges) >= 1)
    reporter.close(DONE)

    assert api.exchanges[-1].request.headers["authorization"] == f"Bearer {pod.token}"
    assert pod.token not in caplog.text
    assert pod.token not in repr(access)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_the_api_server_is_never_asked_through_a_proxy(
    api: KubernetesServer, reporter: KubernetesReporter, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    reporter.report(DOWNLOADING)
    wait(api, progress={"percentage": 25})


def test_a_hanging_server_does_not_block_a_report(api: KubernetesServer, access: ClusterAccess) -> None:
    api.hang()
    reporter = report_to(access, timeout=2 * AT_LAST)
    reporter.report(LISTING)
    api.wait_for(lambda: len(api.exchanges) == 1)

    def report_all() -> None:
        for snapshot in NUMBERS:
            reporter.report(snapshot)

    reporting = threading.Thread(target=report_all, daemon=True)
    reporting.start()
    reporting.join(AT_LAST)
    assert not reporting.is_alive()
    assert statuses(api) == [None], "the first request hangs still"
    api.behave()
    reporter.close(DONE)
    assert statuses(api) == [None, 200]


def test_a_hanging_server_does_not_hold_up_the_end_for_long(api: KubernetesServer, access: ClusterAccess) -> None:
    api.hang()
    started = time.monotonic()
    report_to(access, timeout=1).close(DONE)

    assert time.monotonic() - started < AT_LAST


def test_a_server_that_is_gone_does_not_hold_up_the_end_for_long(api: KubernetesServer, access: ClusterAccess) -> None:
    api.refuse()
    started = time.monotonic()
    report_to(access, timeout=1).close(DONE)

    assert time.monotonic() - started < AT_LAST


def test_a_hanging_request_is_given_up_and_the_newest_state_is_written(
    api: KubernetesServer, access: ClusterAccess
) -> None:
    api.hang(times=1)
    reporter = report_to(access, timeout=1)
    reporter.report(DOWNLOADING)
    wait(api, progress={"percentage": 25})
    reporter.close(DONE)

    assert statuses(api)[:2] == [None, 200]


def test_the_final_state_does_not_wait_for_a_pause_that_is_longer_than_its_time(
    api: KubernetesServer, access: ClusterAccess
) -> None:
    api.answer(429, retry_after=600)
    reporter = report_to(access, timeout=2 * AT_LAST)
    reporter.report(LISTING)
    api.wait_for(lambda: len(api.exchanges) == 1)
    started = time.monotonic()
    reporter.close(DONE)

    assert time.monotonic() - started < AT_LAST
    assert statuses(api) == [429, 429]


def test_the_final_state_gets_through_a_short_outage(api: KubernetesServer, access: ClusterAccess) -> None:
    api.answer(500, times=2)
    report_to(access).close(DONE)

    assert statuses(api) == [500, 500, 200]
    assert api.history("models", "llama")[-1]["progress"]["percentage"] == 100


def test_without_a_report_nothing_is_sent_and_no_thread_runs(api: KubernetesServer, access: ClusterAccess) -> None:
    threads = set(threading.enumerate())
    report_to(access)

    assert set(threading.enumerate()) <= threads
    assert api.exchanges == []


def test_a_run_that_ends_at_once_waits_for_its_client_to_be_imported(
    api: KubernetesServer, access: ClusterAccess
) -> None:
    """With a tenth of a CPU, that takes longer than a request may."""
    reporter = KubernetesReporter(access, timeout=5.0)
    with ThreadPoolExecutor() as pool:
        with LOADING:
            closing = pool.submit(reporter.close, FAILED)
            with pytest.raises(TimeoutError):
                closing.result(6.0)
        closing.result()
    assert api.artifact("models", "llama")["status"]["download"]["message"]
