"""How often the status is written, and how it survives errors of the API server."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.contract.status_runs import DONE, DOWNLOADING, GIB, LISTING, NUMBERS, VERIFYING, report_to, statuses, wait
from tests.servers.certificates import Authority, OldAuthority
from tests.servers.raw import Raw
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.reporters.kubernetes import ClusterAccess, KubernetesReporter
    from tests.servers.kubernetes import KubernetesServer
    from tests.servers.kubernetes_pod import Pod


def test_each_patch_is_a_merge_patch_of_the_status_and_names_only_our_keys(
    api: KubernetesServer, reporter: KubernetesReporter
) -> None:
    reporter.report(DOWNLOADING)
    wait(api, progress={"percentage": 25})

    (request,) = [exchange.request for exchange in api.exchanges]
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


def test_what_was_shown_before_is_learned_from_the_answer_to_a_patch(
    api: KubernetesServer, reporter: KubernetesReporter
) -> None:
    """It takes no further request, and no right to read."""
    reporter.report(replace(DOWNLOADING, succeeds=True))
    wait(api, progress={"percentage": 25})

    first, second = [exchange.request for exchange in api.exchanges]
    assert (first.method, second.method) == ("PATCH", "PATCH")
    assert first.query == second.query == {"fieldManager": "artifact-downloader"}
    assert set(first.json["status"]["progress"]) == {"message"}
    assert second.json["status"]["progress"]["downloadedBytes"] == DOWNLOADING.done_bytes


def test_no_state_ever_has_100_percent_and_a_progress_message(
    api: KubernetesServer, reporter: KubernetesReporter
) -> None:
    stuck = "fsync takes 301 s"
    reporter.report(replace(DOWNLOADING, stuck_volume=stuck))
    wait(api, progress={"message": stuck})
    reporter.report(replace(VERIFYING, stuck_volume=stuck))
    wait(api, progress={"percentage": 100})

    first = next(state for state in api.history("models", "llama") if state["progress"]["percentage"] == 100)
    assert "message" not in first["progress"]


def test_many_snapshots_become_few_patches_of_the_newest_state(api: KubernetesServer, access: ClusterAccess) -> None:
    reporter = report_to(replace(access, interval=30.0))
    for snapshot in NUMBERS:
        reporter.report(snapshot)
    reporter.close(DONE)

    assert len(api.exchanges) <= 2
    assert api.history("models", "llama")[-1]["progress"]["percentage"] == 100


def test_numbers_are_patched_again_after_the_interval_and_not_before(
    api: KubernetesServer, access: ClusterAccess
) -> None:
    reporter = report_to(replace(access, interval=0.3))
    reporter.report(DOWNLOADING)
    wait(api, progress={"downloadedBytes": GIB})
    for snapshot in NUMBERS:
        reporter.report(snapshot)
    wait(api, progress={"downloadedBytes": NUMBERS[-1].done_bytes})
    moments = [exchange.at for exchange in api.exchanges]
    reporter.close(DONE)

    assert len(moments) >= 2
    assert all(later - earlier >= 0.3 for earlier, later in itertools.pairwise(moments))


def test_a_token_that_is_not_accepted_is_read_again(
    api: KubernetesServer, reporter: KubernetesReporter, pod: Pod
) -> None:
    api.expire(pod.token)
    reporter.report(DOWNLOADING)
    api.wait_for(lambda: 401 in statuses(api))
    pod.refresh()
    wait(api, progress={"percentage": 25})

    refused, written = statuses(api)[:-1], statuses(api)[-1]
    assert set(refused) == {401}
    assert written == 200


def test_a_token_that_the_kubelet_replaced_is_used_from_then_on(
    api: KubernetesServer, reporter: KubernetesReporter, pod: Pod
) -> None:
    reporter.report(DOWNLOADING)
    wait(api, progress={"percentage": 25})
    old = pod.token
    pod.refresh()
    api.expire(old)
    reporter.report(VERIFYING)
    wait(api, progress={"percentage": 100})

    assert statuses(api) == [200, 200]


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_after_an_error_the_newest_state_is_written(
    api: KubernetesServer, reporter: KubernetesReporter, status: int
) -> None:
    def go_on() -> None:
        reporter.report(DOWNLOADING)
        reporter.report(VERIFYING)

    api.answer(status, times=1, meanwhile=go_on)
    reporter.report(LISTING)
    wait(api, progress={"percentage": 100})

    assert statuses(api) == [status, 200]
    assert [state["progress"]["percentage"] for state in api.history("models", "llama")] == [100]


def test_retry_after_is_obeyed_even_if_the_run_changes_its_stage(
    api: KubernetesServer, reporter: KubernetesReporter
) -> None:
    api.answer(429, times=1, retry_after=2, meanwhile=lambda: reporter.report(DOWNLOADING))
    reporter.report(LISTING)
    wait(api, progress={"percentage": 25})

    first, second = (exchange.at for exchange in api.exchanges)
    assert second - first >= 2


def test_a_server_that_vanished_gets_the_newest_state_when_it_is_back(
    api: KubernetesServer, reporter: KubernetesReporter
) -> None:
    reporter.report(LISTING)
    wait(api, progress={"percentage": 0})
    api.refuse()
    reporter.report(DOWNLOADING)
    reporter.report(VERIFYING)
    api.accept()
    wait(api, progress={"percentage": 100})


def test_the_ca_is_read_again_when_it_does_not_fit_any_more(
    api: KubernetesServer, reporter: KubernetesReporter, pod: Pod, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reporter.report(LISTING)
    wait(api, progress={"percentage": 0})
    api.replace_authority(Authority(tmp_path / "next"))
    reporter.report(DOWNLOADING)
    assert eventually(lambda: "does not fit" in caplog.text)
    pod.refresh()
    wait(api, progress={"percentage": 25})


def test_a_cluster_whose_ca_is_old_is_trusted(
    api: KubernetesServer, reporter: KubernetesReporter, pod: Pod, tmp_path: Path
) -> None:
    api.replace_authority(OldAuthority(tmp_path / "old"))
    pod.refresh()
    reporter.report(DOWNLOADING)
    wait(api, progress={"percentage": 25})


def test_a_role_that_is_bound_too_late_is_enough_for_the_final_state(
    api: KubernetesServer, access: ClusterAccess
) -> None:
    reporter = report_to(access)
    api.answer(403, times=1)
    reporter.report(LISTING)
    api.wait_for(lambda: len(api.exchanges) == 1)
    reporter.close(DONE)

    assert api.history("models", "llama")[-1]["progress"]["percentage"] == 100


def _success(body: bytes, content_type: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (content_type, len(body)) + body


UNREADABLE = {
    "JSON that ends in the middle": _success(b'{"status": {'),
    "JSON of any depth": _success(b"[" * 100_000),
    "bytes that are no text": _success(b'{"status": "\xff\xfe"}'),
    "a charset that is unknown": _success(b"{}", b"application/json; charset=binary"),
    "another type of content": _success(b"{}", b"application/octet-stream"),
}


@pytest.mark.parametrize("sentence", UNREADABLE)
def test_the_reporter_goes_on_although_the_api_server_answers_with(
    access: ClusterAccess, authority: Authority, caplog: pytest.LogCaptureFixture, sentence: str
) -> None:
    with Raw([UNREADABLE[sentence]], tls=authority.server_context()) as server:
        reporter = report_to(replace(access, port=server.port))
        reporter.report(DOWNLOADING)
        assert eventually(lambda: len(server.requests) > 1)
        reporter.close(DONE)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.endswith("answers with something other than JSON")
