"""Our API server answers as a real one does; with KUBEBUILDER_ASSETS the same is asked of a real one."""

from __future__ import annotations

import itertools
import ssl
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.servers.clusters import KINDS, start
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.kubernetes_pod import Cluster

API = "/apis/aim.eai.amd.com/v1alpha1"
MERGE = "application/merge-patch+json"
NAMES = (f"artifact-{number}" for number in itertools.count())


@pytest.fixture(scope="module", params=KINDS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with start(request.param, tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def name(cluster: Cluster) -> str:
    name = next(NAMES)
    cluster.create_artifact("models", name)
    return name


def client(cluster: Cluster, token: str | None = None) -> httpx2.Client:
    trust = ssl.create_default_context(cadata=cluster.authority.decode())
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.Client(
        base_url=f"https://{cluster.host}:{cluster.port}{API}",
        headers=headers,
        verify=trust,
        trust_env=False,
        timeout=AT_LAST,
    )


def ask(
    cluster: Cluster,
    method: str,
    path: str,
    body: Any = None,
    *,
    token: str | None = "minted",
    content_type: str = MERGE,
    query: dict[str, str] | None = None,
) -> httpx2.Response:
    """Ask as the account `default` of the namespace `models`, unless another token, or None, is given."""
    if token == "minted":
        token = cluster.token("models")
    headers = {} if body is None else {"Content-Type": content_type}
    with client(cluster, token) as asking:
        return asking.request(method, path, json=body, headers=headers, params=query)


def patch(cluster: Cluster, name: str, status: Any, **query: str) -> httpx2.Response:
    return ask(cluster, "PATCH", f"/namespaces/models/aimartifacts/{name}/status", {"status": status}, query=query)


def test_a_merge_patch_of_the_status_is_written_and_leaves_other_keys_alone(cluster: Cluster, name: str) -> None:
    patch(cluster, name, {"progress": {"percentage": 3, "totalBytes": 10}, "download": {"attempt": 1}})

    answer = patch(cluster, name, {"progress": {"percentage": 4}})

    assert answer.status_code == 200
    status = answer.json()["status"]
    assert status["progress"] == {"percentage": 4, "totalBytes": 10}
    assert status["download"] == {"attempt": 1}


def test_null_removes_a_key(cluster: Cluster, name: str) -> None:
    patch(cluster, name, {"progress": {"percentage": 3, "message": "the volume is silent"}})

    answer = patch(cluster, name, {"progress": {"message": None}})

    assert answer.json()["status"]["progress"] == {"percentage": 3}


def test_a_dry_run_is_checked_like_any_patch_and_changes_nothing(cluster: Cluster, name: str) -> None:
    patch(cluster, name, {"progress": {"percentage": 3}})
    before = cluster.artifact("models", name)

    answer = patch(cluster, name, {"progress": {"percentage": 4}}, dryRun="All")
    invalid = patch(cluster, name, {"progress": {"percentage": 101}}, dryRun="All")

    assert (answer.status_code, answer.json()["status"]["progress"]) == (200, {"percentage": 4})
    assert invalid.status_code == 422
    assert cluster.artifact("models", name) == before
    assert patch(cluster, name, {}, dryRun="Some").status_code == 422


def test_a_dry_run_needs_the_right_to_patch(cluster: Cluster, name: str) -> None:
    stranger = cluster.token("models", "stranger")
    body = {"status": {"progress": {"percentage": 4}}}
    path = f"/namespaces/models/aimartifacts/{name}/status"
    assert ask(cluster, "PATCH", path, body, token=stranger, query={"dryRun": "All"}).status_code == 403


def test_the_status_can_be_read_and_shows_the_whole_object(cluster: Cluster, name: str) -> None:
    answer = ask(cluster, "GET", f"/namespaces/models/aimartifacts/{name}/status")

    assert answer.status_code == 200
    assert answer.json()["metadata"]["uid"] == cluster.artifact("models", name)["metadata"]["uid"]
    assert answer.json()["spec"] == {"sourceUri": "hf://org/model"}


def test_the_first_write_fills_in_pending_and_no_write_fills_the_progress_column(cluster: Cluster, name: str) -> None:
    assert "status" not in cluster.artifact("models", name)

    patch(cluster, name, {"progress": {"percentage": 1}})

    assert cluster.artifact("models", name)["status"] == {"status": "Pending", "progress": {"percentage": 1}}


def test_spec_and_labels_in_a_status_patch_are_ignored_without_a_word(cluster: Cluster, name: str) -> None:
    before = cluster.artifact("models", name)
    body = {"spec": {"sourceUri": "hf://other/one"}, "metadata": {"labels": {"a": "b"}}, "status": {"progress": {}}}

    answer = ask(cluster, "PATCH", f"/namespaces/models/aimartifacts/{name}/status", body)

    assert answer.status_code == 200
    after = cluster.artifact("models", name)
    assert after["spec"] == before["spec"]
    assert "labels" not in after["metadata"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


def test_unknown_status_keys_are_pruned(cluster: Cluster, name: str) -> None:
    answer = patch(cluster, name, {"invented": 1, "progress": {"percentage": 2, "speed": 3}})

    assert answer.status_code == 200
    assert answer.json()["status"] == {"status": "Pending", "progress": {"percentage": 2}}
    assert "unknown field" in answer.headers["Warning"]


def test_unknown_status_keys_are_refused_under_strict_validation(cluster: Cluster, name: str) -> None:
    answer = patch(cluster, name, {"invented": 1}, fieldValidation="Strict")

    assert answer.status_code == 422
    assert "status" not in cluster.artifact("models", name)


@pytest.mark.parametrize(
    "status",
    [
        {"progress": {"percentage": 101}},
        {"progress": {"percentage": -1}},
        {"progress": {"percentage": 4.5}},
        {"progress": {"percentage": "5"}},
        {"progress": {"displayPercentage": 5}},
        {"progress": "five"},
        {"download": {"attempt": True}},
        {"status": "Downloading"},
    ],
    ids=str,
)
def test_what_the_schema_does_not_allow_is_refused(cluster: Cluster, name: str, status: Any) -> None:
    answer = patch(cluster, name, status)

    assert (answer.status_code, answer.json()["reason"]) == (422, "Invalid")
    assert answer.json()["details"]["causes"]
    assert "status" not in cluster.artifact("models", name)


@pytest.mark.parametrize("content_type", ["application/json", "application/strategic-merge-patch+json"])
def test_other_content_types_are_refused(cluster: Cluster, name: str, content_type: str) -> None:
    answer = ask(
        cluster,
        "PATCH",
        f"/namespaces/models/aimartifacts/{name}/status",
        {"status": {"progress": {"percentage": 1}}},
        content_type=content_type,
    )

    assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedMediaType")


def test_a_body_that_is_no_object_is_refused(cluster: Cluster, name: str) -> None:
    answer = ask(cluster, "PATCH", f"/namespaces/models/aimartifacts/{name}/status", [1, 2])

    assert answer.status_code == 400


def test_the_status_of_an_object_that_does_not_exist_is_missing(cluster: Cluster) -> None:
    answer = patch(cluster, "missing", {"progress": {"percentage": 1}})

    assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/namespaces/models/aimartifacts/{name}"),
        ("GET", "/namespaces/models/aimartifacts/{name}"),
        ("DELETE", "/namespaces/models/aimartifacts/{name}"),
        ("DELETE", "/namespaces/models/aimartifacts/{name}/status"),
        ("GET", "/namespaces/models/aimartifacts"),
        ("POST", "/namespaces/models/aimartifacts"),
        ("GET", "/aimartifacts"),
        ("PATCH", "/namespaces/elsewhere/aimartifacts/{name}/status"),
    ],
)
def test_everything_beside_the_status_in_the_own_namespace_is_forbidden(
    cluster: Cluster, name: str, method: str, path: str
) -> None:
    body = {"status": {"progress": {"percentage": 1}}} if method == "PATCH" else {} if method == "POST" else None

    answer = ask(cluster, method, path.format(name=name), body)

    assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")
    assert "is forbidden: User" in answer.json()["message"]


def test_other_resources_and_paths_are_forbidden(cluster: Cluster) -> None:
    token = cluster.token("models")
    with client(cluster, token) as asking:
        asking.base_url = httpx2.URL(f"https://{cluster.host}:{cluster.port}")
        assert asking.get("/api/v1/namespaces/models/pods").status_code == 403
        assert asking.post("/api/v1/namespaces/models/events", json={}).status_code == 403
        assert asking.get("/logs").status_code == 403


def test_another_account_of_the_namespace_is_forbidden(cluster: Cluster, name: str) -> None:
    path = f"/namespaces/models/aimartifacts/{name}/status"

    assert ask(cluster, "GET", path, token=cluster.token("models", "stranger")).status_code == 403
    assert ask(cluster, "GET", path, token=cluster.token("elsewhere")).status_code == 403


def test_a_wrong_token_is_not_accepted_and_none_is_anonymous(cluster: Cluster, name: str) -> None:
    path = f"/namespaces/models/aimartifacts/{name}/status"
    wrong, none = ask(cluster, "GET", path, token="invented"), ask(cluster, "GET", path, token=None)

    assert (wrong.status_code, wrong.json()["reason"]) == (401, "Unauthorized")
    assert none.status_code == 403
    assert "system:anonymous" in none.json()["message"]


def test_refusals_are_status_objects(cluster: Cluster) -> None:
    body = patch(cluster, "missing", {}).json()

    assert (body["kind"], body["apiVersion"], body["status"], body["code"]) == ("Status", "v1", "Failure", 404)
    assert body["details"]["name"] == "missing"


def test_a_write_raises_the_resource_version_and_one_that_changes_nothing_does_not(cluster: Cluster, name: str) -> None:
    first = patch(cluster, name, {"progress": {"percentage": 1}}).json()["metadata"]["resourceVersion"]
    same = patch(cluster, name, {"progress": {"percentage": 1}}).json()["metadata"]["resourceVersion"]
    second = patch(cluster, name, {"progress": {"percentage": 2}}).json()["metadata"]["resourceVersion"]

    assert first == same
    assert second != first


def test_the_field_manager_is_kept(cluster: Cluster, name: str) -> None:
    patch(cluster, name, {"progress": {"percentage": 1}}, fieldManager="another-client")

    managers = cluster.artifact("models", name)["metadata"]["managedFields"]
    assert ("another-client", "status") in [(entry["manager"], entry.get("subresource")) for entry in managers]


def test_a_foreign_resource_version_is_a_conflict(cluster: Cluster, name: str) -> None:
    body = {"metadata": {"resourceVersion": "1"}, "status": {"progress": {"percentage": 1}}}

    answer = ask(cluster, "PATCH", f"/namespaces/models/aimartifacts/{name}/status", body)

    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
    assert "status" not in cluster.artifact("models", name)


def test_a_foreign_uid_is_ignored(cluster: Cluster, name: str) -> None:
    uid = cluster.artifact("models", name)["metadata"]["uid"]
    body = {"metadata": {"uid": "another"}, "status": {"progress": {"percentage": 1}}}

    answer = ask(cluster, "PATCH", f"/namespaces/models/aimartifacts/{name}/status", body)

    assert answer.status_code == 200
    assert cluster.artifact("models", name)["metadata"]["uid"] == uid
    assert cluster.artifact("models", name)["status"]["progress"] == {"percentage": 1}


def test_the_status_can_be_replaced_by_a_client_that_read_its_latest_version(cluster: Cluster, name: str) -> None:
    path = f"/namespaces/models/aimartifacts/{name}/status"
    thing = ask(cluster, "GET", path).json()
    thing["status"] = {"progress": {"percentage": 7}}

    first = ask(cluster, "PUT", path, thing, content_type="application/json")
    again = ask(cluster, "PUT", path, thing, content_type="application/json")

    assert first.status_code == 200
    assert first.json()["status"]["progress"] == {"percentage": 7}
    assert again.status_code == 409


@pytest.mark.parametrize("kind", KINDS)
def test_release_0_2_0_prunes_the_progress_message(kind: str, tmp_path: Path) -> None:
    with start(kind, tmp_path, newest=False) as cluster:
        cluster.create_artifact("models", "llama")

        answer = patch(cluster, "llama", {"progress": {"percentage": 1, "message": "the volume is silent"}})

    assert answer.json()["status"]["progress"] == {"percentage": 1}
