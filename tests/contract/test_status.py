"""What the AIMArtifact's status shows of a run, on our API server, and with KUBEBUILDER_ASSETS on a real one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from downloader.artifact import TransferProtocol
from downloader.progress import Phase, Snapshot
from downloader.redaction import Redactor
from downloader.reporters.kubernetes import ClusterAccess, KubernetesReporter
from tests.contract.status_runs import DONE, DOWNLOADING, GIB, LISTING, VERIFYING
from tests.servers.clusters import KINDS, start
from tests.servers.kubernetes_pod import Pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.kubernetes_pod import Cluster

NAMES = (f"model-{number}" for number in itertools.count())


@pytest.fixture(scope="module", params=KINDS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with start(request.param, tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


class Run:
    """One artifact, and the reporter of the pod that downloads it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.name = next(NAMES)
        cluster.create_artifact("models", self.name)
        self.access = ClusterAccess(
            host=cluster.host,
            port=cluster.port,
            namespace="models",
            name=self.name,
            interval=0.05,
            service_account=Pod(cluster, folder).service_account,
        )
        self.reporter = KubernetesReporter(self.access)
        self.open = True

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.cluster.artifact("models", self.name).get("status", {})
        return status

    def show(self, snapshot: Snapshot, **expected: Any) -> dict[str, Any]:
        """Report, wait until the status holds `expected`, and return it."""
        self.reporter.report(snapshot)
        self.cluster.wait_for_status("models", self.name, expected)
        return self.status

    def end(self, final: Snapshot) -> dict[str, Any]:
        self.open = False
        self.reporter.close(final)
        return self.status


@pytest.fixture
def run(cluster: Cluster, tmp_path: Path) -> Iterator[Run]:
    run = Run(cluster, tmp_path / "serviceaccount")
    yield run
    if run.open:
        run.reporter.close(replace(LISTING, phase=Phase.FAILED))


def test_the_first_patch_resets_what_the_last_pod_left(run: Run) -> None:
    left = {"totalBytes": 9, "downloadedBytes": 9, "percentage": 100, "displayPercentage": "N/A", "message": "stuck"}
    run.cluster.write_status("models", run.name, {"progress": left, "download": {"protocol": "HTTP", "attempt": 2}})

    status = run.show(LISTING, progress={"percentage": 0})

    assert status["progress"] == {"totalBytes": 9, "downloadedBytes": 0, "percentage": 0, "displayPercentage": "0 %"}
    assert status["download"] == {"message": "listing the source"}


def test_a_retried_pod_starts_from_what_is_on_the_volume(run: Run) -> None:
    run.cluster.write_status("models", run.name, {"progress": {"percentage": 100, "downloadedBytes": 4 * GIB}})

    status = run.show(replace(DOWNLOADING, phase=Phase.CHECKING), progress={"percentage": 25})

    assert status["progress"]["downloadedBytes"] == GIB


SUCCESSOR = replace(DOWNLOADING, succeeds=True, processes=2)
"""Of a process that was killed at 50 %: what that had fetched and not recorded is lost."""
SHOWN = {"totalBytes": 4 * GIB, "downloadedBytes": 2 * GIB, "percentage": 50}


def test_who_takes_over_the_lead_does_not_fall_behind_what_was_shown(run: Run) -> None:
    run.cluster.write_status("models", run.name, {"progress": SHOWN})

    first = run.show(SUCCESSOR, download={"attempt": 1})
    assert first["progress"]["downloadedBytes"] == 2 * GIB
    behind = run.show(SUCCESSOR, progress={"displayPercentage": "50 %"})
    assert behind["progress"] == {**SHOWN, "displayPercentage": "50 %"}
    beyond = run.show(replace(SUCCESSOR, done_bytes=3 * GIB), progress={"percentage": 75})

    assert beyond["progress"]["downloadedBytes"] == 3 * GIB


def test_what_was_shown_of_another_artifact_does_not_count(run: Run) -> None:
    run.cluster.write_status("models", run.name, {"progress": {**SHOWN, "totalBytes": 5 * GIB}})

    status = run.show(SUCCESSOR, progress={"percentage": 25})

    assert status["progress"]["downloadedBytes"] == GIB


def test_what_was_shown_does_not_count_once_the_source_was_listed_again(run: Run) -> None:
    run.cluster.write_status("models", run.name, {"progress": SHOWN})
    run.show(SUCCESSOR, progress={"displayPercentage": "50 %"})

    status = run.show(replace(SUCCESSOR, succeeds=False, done_bytes=0), progress={"percentage": 0})

    assert status["progress"]["downloadedBytes"] == 0


def test_who_takes_over_during_verification_keeps_100_percent_until_bytes_are_missing(run: Run) -> None:
    shown = {"totalBytes": 4 * GIB, "downloadedBytes": 4 * GIB, "percentage": 100}
    run.cluster.write_status("models", run.name, {"progress": shown})
    checking = replace(SUCCESSOR, phase=Phase.CHECKING)

    assert run.show(checking, progress={"displayPercentage": "100 %"})["progress"]["percentage"] == 100
    assert run.show(SUCCESSOR, progress={"percentage": 99})["progress"]["displayPercentage"] == "99 %"
    run.end(replace(SUCCESSOR, phase=Phase.FAILED, message="no way is left"))

    assert run.status["progress"]["percentage"] == 99


def test_who_takes_over_and_ends_at_once_does_not_fall_behind_either(run: Run) -> None:
    run.cluster.write_status("models", run.name, {"progress": SHOWN})

    status = run.end(replace(SUCCESSOR, phase=Phase.FAILED, message="no way is left"))

    assert (status["progress"]["percentage"], status["download"]["message"]) == (50, "no way is left (2 processes)")


def test_the_progress_is_shown_in_bytes_and_percent(run: Run) -> None:
    status = run.show(DOWNLOADING, progress={"percentage": 25})

    assert status["progress"] == {
        "totalBytes": 4 * GIB,
        "downloadedBytes": GIB,
        "percentage": 25,
        "displayPercentage": "25 %",
    }


def test_the_download_is_shown_with_protocol_attempt_sequence_rate_and_time_left(run: Run) -> None:
    status = run.show(DOWNLOADING, download={"protocol": "XET"})

    assert status["download"] == {
        "protocol": "XET",
        "attempt": 1,
        "totalAttempts": 2,
        "protocolSequence": "XET,HTTP",
        "message": "downloading; 256 MiB/s, 12 s left",
    }


def test_the_next_attempt_is_shown_with_the_reason_for_it(run: Run) -> None:
    run.show(DOWNLOADING, download={"attempt": 1})

    second = replace(DOWNLOADING, protocol=TransferProtocol.HTTP, attempt=2, message="XET stalled", rate=0.0, eta=None)
    status = run.show(second, download={"attempt": 2})

    assert status["download"] == {
        "protocol": "HTTP",
        "attempt": 2,
        "totalAttempts": 2,
        "protocolSequence": "XET,HTTP",
        "message": "XET stalled",
    }


def test_no_more_than_99_percent_are_shown_while_a_byte_is_missing(run: Run) -> None:
    status = run.show(replace(DOWNLOADING, done_bytes=4 * GIB - 1), progress={"downloadedBytes": 4 * GIB - 1})

    assert status["progress"]["percentage"] == 99
    assert status["progress"]["displayPercentage"] == "99 %"


def test_100_percent_are_shown_when_only_verification_is_left(run: Run) -> None:
    run.show(DOWNLOADING, progress={"percentage": 25})

    status = run.show(VERIFYING, progress={"percentage": 100})

    assert status["progress"]["downloadedBytes"] == 4 * GIB
    assert status["progress"]["displayPercentage"] == "100 %"
    assert status["download"]["message"] == "verifying"


def test_an_artifact_of_empty_files_can_be_complete(run: Run) -> None:
    status = run.show(Snapshot(phase=Phase.VERIFYING), progress={"percentage": 100})

    assert status["progress"]["totalBytes"] == status["progress"]["downloadedBytes"] == 0


def test_a_volume_that_does_not_answer_is_named_in_the_progress_message_until_it_answers(run: Run) -> None:
    stuck = run.show(replace(DOWNLOADING, stuck_volume="fsync takes 301 s"), progress={"message": "fsync takes 301 s"})
    answering = run.show(DOWNLOADING, progress={"message": None})

    assert stuck["progress"]["percentage"] == 25
    assert "message" not in answering["progress"]


def test_the_patch_that_says_100_percent_clears_the_progress_message(run: Run) -> None:
    run.show(replace(DOWNLOADING, stuck_volume="fsync takes 301 s"), progress={"message": "fsync takes 301 s"})

    status = run.show(VERIFYING, progress={"percentage": 100})

    assert "message" not in status["progress"]


def test_other_messages_never_get_into_the_progress_message(run: Run) -> None:
    status = run.show(replace(DOWNLOADING, message="waiting for the server"), progress={"percentage": 25})

    assert "message" not in status["progress"]
    assert status["download"]["message"] == "waiting for the server; 256 MiB/s, 12 s left"


def test_the_last_patch_clears_the_progress_message(run: Run) -> None:
    stuck = replace(DOWNLOADING, stuck_volume="fsync takes 301 s")
    run.show(stuck, progress={"message": "fsync takes 301 s"})

    status = run.end(replace(stuck, phase=Phase.FAILED, message="the volume does not answer"))

    assert "message" not in status["progress"]


def test_a_finished_run_stays_at_100_percent(run: Run) -> None:
    run.show(VERIFYING, progress={"percentage": 100})

    status = run.end(DONE)

    assert status["progress"]["percentage"] == 100
    assert status["download"]["message"] == "complete"


def test_a_failed_download_shows_its_reason_and_how_far_it_came(run: Run) -> None:
    run.show(DOWNLOADING, progress={"percentage": 25})

    status = run.end(replace(DOWNLOADING, phase=Phase.FAILED, message="hub.example answered HTTP 500"))

    assert status["download"]["message"] == "hub.example answered HTTP 500"
    assert (status["download"]["protocol"], status["download"]["attempt"]) == ("XET", 1)
    assert status["progress"]["percentage"] == 25


def test_a_failed_verification_keeps_the_signal_that_everything_had_been_downloaded(run: Run) -> None:
    run.show(VERIFYING, progress={"percentage": 100})

    status = run.end(replace(VERIFYING, phase=Phase.FAILED, message="config.json is damaged"))

    assert status["progress"]["percentage"] == 100
    assert status["download"]["message"] == "config.json is damaged"


def test_a_download_that_resumes_after_verification_and_fails_is_no_failed_verification(run: Run) -> None:
    run.show(VERIFYING, progress={"percentage": 100})
    again = replace(DOWNLOADING, done_bytes=4 * GIB - 5)
    run.show(again, progress={"percentage": 99})

    status = run.end(replace(again, phase=Phase.FAILED, message="no way is left"))

    assert status["progress"]["percentage"] == 99


def test_the_final_state_is_written_though_nothing_was_reported_before(run: Run) -> None:
    status = run.end(replace(LISTING, phase=Phase.FAILED, message="the address is wrong"))

    assert status["progress"]["percentage"] == 0
    assert status["download"] == {"message": "the address is wrong"}


def test_what_others_wrote_is_left_alone_and_the_first_write_makes_it_pending(run: Run) -> None:
    assert run.show(LISTING, progress={"percentage": 0})["status"] == "Pending"
    run.cluster.write_status("models", run.name, {"status": "Progressing"})

    assert run.show(DOWNLOADING, progress={"percentage": 25})["status"] == "Progressing"


def test_the_writes_are_attributed_to_the_downloader(run: Run) -> None:
    run.show(DOWNLOADING, progress={"percentage": 25})

    managers = run.cluster.artifact("models", run.name)["metadata"]["managedFields"]
    assert "artifact-downloader" in [entry["manager"] for entry in managers]


def test_messages_are_one_line_of_bounded_length_without_secrets(run: Run) -> None:
    run.reporter = KubernetesReporter(run.access, redactor=Redactor("hunter2hunter2"))

    told = run.end(replace(LISTING, phase=Phase.FAILED, message="hunter2hunter2\n" + "x" * 5000))["download"]["message"]

    assert len(told) == 1024
    assert told.isprintable()
    assert "hunter2" not in told


@pytest.mark.parametrize("kind", KINDS)
def test_release_0_2_0_of_the_operator_gets_the_same_patches_and_prunes_the_message(kind: str, tmp_path: Path) -> None:
    with start(kind, tmp_path, newest=False) as cluster:
        run = Run(cluster, tmp_path / "serviceaccount")
        run.show(replace(DOWNLOADING, stuck_volume="fsync takes 301 s"), progress={"percentage": 25})
        status = run.end(DONE)

    assert "message" not in status["progress"]
    assert status["progress"]["percentage"] == 100
