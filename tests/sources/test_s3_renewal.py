"""Session tokens that a server calls expired before their time: who gave them is asked for others."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Span
from downloader.cancellation import Cancellation
from downloader.errors import AccessDenied, SourceUnavailable
from downloader.progress import ProgressMeter
from downloader.sources.pause import SharedPause
from downloader.sources.retry import RetryPolicy
from downloader.sources.retrying import RetryingSource
from tests.servers.bucket import Bucket
from tests.servers.messages import Reply, Request
from tests.servers.origin import Server
from tests.sources.reading import read
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from downloader.sources.s3 import S3Source

    Maker = Callable[..., S3Source]

CONTENT = bytes(range(256)) * 4000
EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


class Agent:
    """A container's agent for credentials, and a bucket that takes the tokens it has not revoked."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.revoked: set[str] = set()
        self.repeats = False
        """It has one token and no other."""
        self.bucket = Bucket()
        for name in ("a", "b"):
            self.bucket.put(f"m/{name}", CONTENT)
        self._answer, self.bucket.server.application = self.bucket.server.application, self._checked
        self.server = Server(self._give)

    def _give(self, _: Request) -> Reply:
        number = 1 if self.repeats else len(self.given) + 1
        self.given.append(f"token-{number}")
        keys = {"AccessKeyId": f"KEYOFTHEAGENT{number}", "SecretAccessKey": "hush-hush", "Token": self.given[-1]}
        return Reply("credentials", 200, {}, json.dumps({**keys, "Expiration": "2099-01-01T00:00:00Z"}).encode())

    def _checked(self, request: Request) -> Reply:
        if request.headers.get("x-amz-security-token") in self.revoked:
            return Reply("expired", 400, {}, b"" if request.method == "HEAD" else EXPIRED)
        return self._answer(request)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    agent = Agent()
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.server.origin}/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "jwt")
    yield agent
    agent.server.close()
    agent.bucket.close()


def patient(source: S3Source) -> RetryingSource:
    meter = ProgressMeter()
    return RetryingSource(source, RetryPolicy(AT_LAST, meter, Cancellation(), SharedPause(meter.clock)))


@pytest.fixture
def source(agent: Agent, s3_source: Maker) -> S3Source:
    return s3_source("s3://bucket/m", {"AWS_ENDPOINT_URL": agent.bucket.server.origin, "AWS_REGION": "us-east-1"})


def test_a_token_that_dies_while_objects_are_read_is_renewed(agent: Agent, source: S3Source) -> None:
    persistent = patient(source)
    files = persistent.manifest().files
    assert read(persistent, files[0]) == CONTENT
    agent.revoked.add("token-1")
    assert read(persistent, files[1]) == CONTENT
    assert agent.given == ["token-1", "token-2"]


def test_a_token_that_dies_before_the_listing_is_renewed(agent: Agent, source: S3Source) -> None:
    agent.revoked.add("token-1")
    assert len(patient(source).manifest().files) == 2
    assert agent.given == ["token-1", "token-2"]


def test_many_threads_renew_a_token_once(agent: Agent, source: S3Source) -> None:
    persistent = patient(source)
    file = persistent.manifest().files[0]
    agent.revoked.add("token-1")
    found: list[bytes] = []

    def fetch(start: int) -> None:
        found.append(read(persistent, file, Span(start, start + 1000)))

    threads = [threading.Thread(target=fetch, args=(1000 * number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(AT_LAST)
    assert len(found) == 16
    assert agent.given == ["token-1", "token-2"]


def test_an_agent_that_has_no_other_token_is_not_asked_for_ever(agent: Agent, source: S3Source) -> None:
    agent.repeats = True
    file = source.manifest().files[0]
    agent.revoked.add("token-1")
    with pytest.raises(AccessDenied, match="ExpiredToken") as caught:
        read(patient(source), file)
    assert "container-role" in caught.value.hint
    assert len(agent.given) == 2


def test_new_tokens_that_are_refused_as_well_end_it(
    agent: Agent, source: S3Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = source.manifest().files[0]
    agent.revoked |= {f"token-{number}" for number in range(9)}
    with pytest.raises(SourceUnavailable, match="renewed"):
        read(source, file)
    monkeypatch.setattr("downloader.sources.s3.client.RENEWAL_HOLDS", 0.0)
    with pytest.raises(AccessDenied, match="ExpiredToken"):
        read(source, file)
    assert agent.given == ["token-1", "token-2"]
