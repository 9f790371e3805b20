"""What the Hub's own library does beside what it is asked for, which no server and no old file may turn on us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.command import run
from tests.servers.floods import JSON, VastHub, tree_of
from tests.servers.hub import Hub
from tests.servers.messages import Reply
from tests.servers.origin import Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.messages import Request

REGISTRY = ".agent_harnesses.json"
"""What huggingface_hub keeps in HF_HOME of whom else it could be working for."""


@pytest.mark.parametrize("left", ["[]", "{", "1", '{"harnesses": 5}', '{"harnesses": {"a": {"envVars": 5}}}'])
def test_what_the_library_left_in_the_home_breaks_nothing(left: str, tmp_path: Path) -> None:
    (tmp_path / REGISTRY).write_text(left)
    with Hub() as hub:
        hub.create("org/model").commit({"config.json": b"{}"})
        result = run("size", "hf://org/model", extra={"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)})
    assert result.status == 0, result.stderr


def test_a_listing_asks_for_a_commit_and_its_tree_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with Hub() as hub:
        hub.create("org/model").commit({"config.json": b"{}"})
        result = run("size", "hf://org/model", extra={"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)})
        assert [record.route for record in hub.log.records()] == ["api", "tree"]
    assert result.status == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("base", ["{elsewhere}/api/models/org/model/tree/main", "/api/models/org/model/tree/main", ""])
def test_the_next_page_is_asked_of_the_endpoint_whatever_address_the_listing_names(base: str) -> None:
    with Server(lambda _: Reply("elsewhere", 200, dict(JSON), b"[]")) as elsewhere:

        def page(request: Request) -> Reply:
            if "cursor" in request.query:
                return Reply("tree", 200, dict(JSON), b"[]")
            reply = tree_of(1)(request)
            reply.headers["Link"] = f'<{base.format(elsewhere=elsewhere.origin)}?cursor=x%2Fy>; rel="next"'
            return reply

        with VastHub(page) as hub:
            result = run("size", "hf://org/model", extra={**hub.environment, "HF_TOKEN": "hf_aWordForTheHubAlone"})
            records = hub.server.log.records()
            assert {record.request.bearer for record in records} == {"hf_aWordForTheHubAlone"}
            assert records[-1].request.path == records[-2].request.path
            assert records[-1].request.query == {"cursor": "x/y"}
        assert elsewhere.log.records() == []
    assert result.status == 0, result.stderr


def test_a_next_page_that_is_not_an_address_is_refused() -> None:
    def page(request: Request) -> Reply:
        reply = tree_of(1)(request)
        reply.headers["Link"] = '<https://elsewhere.test/>; rel="next"'
        return reply

    with VastHub(page) as hub:
        result = run("size", "hf://org/model", extra=hub.environment)
    assert result.status == 69
    assert "names a malformed next page" in result.last_line
