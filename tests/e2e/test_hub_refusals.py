"""Who refused: the Hub itself, whose verdict counts, or a host on the way, which does not know repository or token.

What each answer means by itself is in tests/sources/test_hub_answers.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from downloader.errors import Category
from tests.command import model, run, run_until
from tests.contract.operator_log import filed
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, Exchange, Fault, web_page

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub
    from tests.servers.repository import Repository

FILES = {
    "config.json": b"{}",
    "model.safetensors": Noise(300_000, seed=71).bytes(),
}
NEWER = {**FILES, "config.json": b'{"newer": true}'}
XML = {"Content-Type": "application/xml"}
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
PAGE = b"<html><head><title>Blocked: category AI</title></head></html>"


@dataclass(frozen=True, slots=True)
class Squashed(Fault):
    """The history is squashed into a new commit after the old one has been listed, or right before."""

    repository: Repository
    before: bool = False

    def prepare(self, exchange: Exchange) -> None:
        old = self.repository.references["refs/heads/main"]
        self.repository.commit({"config.json": NEWER["config.json"]})
        del self.repository.commits[old]
        if self.before:
            told = {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev id: {old}"}
            exchange.replace(404, told, b"")


def settings(hub: Hub, protocols: str = "XET,HF_TRANSFER,HTTP", **more: str) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocols, **more}


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_one_refusal_of_the_content_network_costs_a_new_address(status: int, hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Answer(status, XML, DENIED), route="cdn")
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(hub, "HTTP"))
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert len(hub.log.records("resolve", path="*.safetensors")) == 2


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_content_network_that_always_refuses_is_named_and_nothing_else_is_blamed(
    status: int, hub: Hub, tmp_path: Path
) -> None:
    hub.faults.add(Answer(status, XML, DENIED), route="cdn", times=FOREVER)
    result = run_until(69, "download", "hf://org/model", tmp_path / "t", extra=settings(hub, "HF_TRANSFER,HTTP"))
    assert result.status == 69, result.stderr
    assert filed(result.stderr, newest=True) is filed(result.stderr, newest=False) is Category.OTHER
    assert f"127.0.0.1:{hub.cdn.server.port} refused model.safetensors (HTTP {status})" in result.last_line.replace(
        "·", ""
    )
    assert "switching to HTTP" in result.stderr
    assert "HF_TOKEN" not in result.stderr
    assert "repository" not in result.stderr


@pytest.mark.usefixtures("repository")
def test_a_page_that_a_gateway_answers_for_the_hub_is_no_verdict_of_it(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Answer(403, {"Content-Type": "text/html"}, PAGE), route="api", times=2)
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(hub))
    assert result.status == 0, result.stderr
    hub.faults.add(Answer(403, {"Content-Type": "text/html"}, PAGE), route="api", times=FOREVER)
    result = run_until(69, "download", "hf://org/model", tmp_path / "u", extra=settings(hub))
    assert result.status == 69, result.stderr
    assert f"127.0.0.1:{hub.server.port} refused org/model (HTTP 403): Blocked: category AI" in result.last_line
    assert "HF_TOKEN" not in result.stderr


def no_repository(status: int) -> Answer:
    return Answer(status, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})


@pytest.mark.usefixtures("repository")
def test_a_xet_token_that_is_refused_alone_is_no_missing_repository(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(no_repository(401), route="token", times=FOREVER)
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(hub, "XET,HTTP", HF_HOME=str(tmp_path)))
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    assert f"127.0.0.1:{hub.server.port} gives no Xet token (HTTP 401); switching to HTTP" in result.stderr


@pytest.mark.usefixtures("repository")
def test_a_repository_that_was_listed_cannot_be_missing(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(no_repository(404), route="resolve")
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(hub, "HTTP"))
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == FILES
    hub.faults.add(no_repository(404), route="resolve", times=FOREVER)
    result = run_until(69, "download", "hf://org/model", tmp_path / "u", extra=settings(hub, "HTTP"))
    assert result.status == 69, result.stderr
    assert "although it has listed it" in result.last_line


@pytest.mark.parametrize("protocols", ["HF_TRANSFER,HTTP", "XET"])
def test_a_commit_that_vanished_is_resolved_again(
    protocols: str, repository: Repository, hub: Hub, tmp_path: Path
) -> None:
    squashed = Squashed(repository)
    hub.faults.add(squashed, route="tree")
    extra = settings(hub, protocols, AIM_CONNECTIONS="1", HF_HOME=str(tmp_path / "h"))
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == NEWER
    assert repository.references["refs/heads/main"] in (tmp_path / "t" / ".artifact.sha256").read_text()
    assert "listing it again" in result.stderr


def test_a_commit_that_vanishes_before_it_is_listed_is_resolved_again(
    repository: Repository, hub: Hub, tmp_path: Path
) -> None:
    hub.faults.add(Squashed(repository, before=True), route="tree")
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(hub))
    assert result.status == 0, result.stderr
    assert model(tmp_path / "t") == NEWER


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("code", ["RevisionNotFound", "EntryNotFound"])
def test_a_commit_that_is_named_again_and_lacked_again_is_told_with_its_file(
    code: str, hub: Hub, tmp_path: Path
) -> None:
    hub.faults.add(Answer(404, {"X-Error-Code": code}), route="resolve", path="*.safetensors", times=FOREVER)
    result = run("download", "hf://org/model", tmp_path / "t", extra=settings(hub, "HTTP"))
    assert result.status == 69, result.stderr
    commit = next(iter(hub.repositories.values())).references["refs/heads/main"]
    assert f"127.0.0.1:{hub.server.port} lacks model.safetensors at commit {commit}" in result.last_line
    assert len(hub.log.records("tree")) == 2


def test_a_finished_commit_needs_no_request(repository: Repository, hub: Hub, tmp_path: Path) -> None:
    commit = repository.references["refs/heads/main"]
    uri = f"hf://org/model@{commit}"
    assert run("download", uri, tmp_path / "t", extra=settings(hub)).status == 0
    hub.server.refuse()
    result = run("download", uri, tmp_path / "t", extra=settings(hub))
    assert result.status == 0, result.stderr
    assert "nothing had to be fetched" in result.stderr
    result = run_until(69, "download", "hf://org/model@main", tmp_path / "t", extra=settings(hub))
    assert result.status == 69, result.stderr


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("route", "answer", "told"),
    [
        ("api", web_page(), "with a web page"),
        ("tree", web_page(), "with a web page"),
        ("api", Answer(200, {}, b"no JSON"), "with something other than JSON"),
        ("tree", Answer(200, {}, b"[" * 60_000), "in a form that the Hub's API does not have"),
    ],
)
def test_an_answer_that_is_not_the_hubs_is_told_without_python(
    route: str, answer: Answer, told: str, hub: Hub, tmp_path: Path
) -> None:
    hub.faults.add(answer, route=route, times=FOREVER)
    result = run_until(69, "download", "hf://org/model", tmp_path / "t", extra=settings(hub))
    assert result.status == 69, result.stderr
    assert f"127.0.0.1:{hub.server.port} answers for hf://org/model {told}" in result.last_line
    assert "Error" not in result.stderr


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("route", ["api", "tree", "resolve"])
def test_the_hubs_own_words_are_passed_on_wherever_it_refuses(route: str, hub: Hub, tmp_path: Path) -> None:
    told = "SSO required: see https://hub.test/sso?token=hf_secretsecretsecretsecret for organization org"
    hub.faults.add(Answer(403, {"X-Error-Message": told}), route=route, times=FOREVER)
    hub.tokens["hf_anothersecretsecretsecret"] = "alice"
    extra = settings(hub, "HTTP", HF_TOKEN="hf_anothersecretsecretsecret")
    result = run("download", "hf://org/model", tmp_path / "t", extra=extra)
    assert result.status == 77, result.stderr
    assert "SSO required: see https://hub.test/sso for organization org" in result.last_line
    assert result.last_line.count("SSO") == 1
    assert "secretsecret" not in result.stderr
