"""What our API server can do beside answering rightly: misbehave on demand, keep a history, print a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.servers.certificates import Authority
from tests.servers.kubernetes import KubernetesServer
from tests.servers.kubernetes_pod import Pod
from tests.servers.test_kubernetes import ask, client, patch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KubernetesServer]:
    with KubernetesServer(Authority(tmp_path / "authority")) as server:
        server.create_artifact("models", "llama")
        yield server


def test_an_injected_answer_comes_as_often_as_told_and_does_nothing(server: KubernetesServer) -> None:
    server.answer(429, retry_after=7, times=2)

    answers = [patch(server, "llama", {"progress": {"percentage": percentage}}) for percentage in (1, 2, 3)]

    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert [one["progress"]["percentage"] for one in server.history("models", "llama")] == [3]
    assert [exchange.status for exchange in server.exchanges] == [429, 429, 200]


def test_a_hanging_server_answers_nothing_until_it_behaves_again(server: KubernetesServer) -> None:
    server.hang()
    with client(server, server.token("models")) as asking, pytest.raises(httpx2.TimeoutException):
        asking.get("/namespaces/models/aimartifacts/llama/status", timeout=0.2)
    server.behave()

    assert patch(server, "llama", {"progress": {"percentage": 1}}).status_code == 200


def test_a_server_that_vanished_refuses_connections_and_comes_back_on_its_port(server: KubernetesServer) -> None:
    with client(server, server.token("models")) as asking:
        path = "/namespaces/models/aimartifacts/llama/status"
        assert asking.get(path).status_code == 200
        server.refuse()
        with pytest.raises(httpx2.TransportError):
            asking.get(path)
        server.accept()
        assert asking.get(path).status_code == 200


def test_an_expired_token_is_not_accepted(server: KubernetesServer, tmp_path: Path) -> None:
    pod = Pod(server, tmp_path / "serviceaccount")
    old = pod.token
    server.expire(old)
    pod.refresh()
    path = "/namespaces/models/aimartifacts/llama/status"

    assert ask(server, "GET", path, token=old).status_code == 401
    assert ask(server, "GET", path, token=pod.token).status_code == 200


def test_a_pod_finds_token_ca_namespace_and_address(server: KubernetesServer, tmp_path: Path) -> None:
    pod = Pod(server, tmp_path / "serviceaccount")

    assert (pod.service_account / "namespace").read_text() == "models"
    assert (pod.service_account / "ca.crt").read_bytes() == server.authority
    assert pod.environment == {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}


def test_clients_that_trust_only_the_old_ca_fail_after_its_replacement(
    server: KubernetesServer, tmp_path: Path
) -> None:
    with client(server, server.token("models")) as asking:
        server.replace_authority(Authority(tmp_path / "next"))
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            asking.get("/namespaces/models/aimartifacts/llama/status")

    assert patch(server, "llama", {"progress": {"percentage": 1}}).status_code == 200


def test_the_history_keeps_every_state(server: KubernetesServer) -> None:
    server.write_status("models", "llama", {"status": "Progressing"})
    for percentage in (1, 2):
        patch(server, "llama", {"progress": {"percentage": percentage}})

    assert server.history("models", "llama") == [
        {"status": "Progressing"},
        {"status": "Progressing", "progress": {"percentage": 1}},
        {"status": "Progressing", "progress": {"percentage": 2}},
    ]


def test_the_table_looks_like_kubectl(server: KubernetesServer) -> None:
    server.create_artifact("models", "empty")
    patch(server, "llama", {"progress": {"displayPercentage": "45 %"}, "download": {"protocol": "XET", "attempt": 1}})

    assert server.table("models").splitlines() == [
        "NAME    STATUS    PROGRESS   PROTOCOL   ATTEMPT",
        "empty",
        "llama   Pending   45 %       XET        1",
    ]


def test_waiting_in_vain_tells_what_the_status_is(server: KubernetesServer) -> None:
    patch(server, "llama", {"progress": {"percentage": 1}})

    with pytest.raises(TimeoutError, match="'percentage': 1"):
        server.wait_for_status("models", "llama", {"progress": {"percentage": 2}}, timeout=0.05)
