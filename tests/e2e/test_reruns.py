"""The command on a volume that is finished: what the servers are asked for, and what makes it look closer."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.command import PEOPLE, model, run
from tests.servers.relay import Relay
from tests.servers.s3 import new_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.e2e.conftest import Watched
    from tests.servers.hub import Hub
    from tests.servers.messages import Log
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

FILES = {
    "config.json": b"{}",
    "empty.txt": b"",
    "model.safetensors": bytes(range(256)) * 800,
    "sub/tokenizer.json": b"t" * 5000,
}
LISTED = {"hf": ["api", "tree"], "http": ["GET", "HEAD"], "s3": ["listing", "object"]}
"""What a listing asks for, at least."""


@dataclass
class Place:
    """An artifact somewhere, which can be changed, and what was asked for there."""

    uri: str
    extra: Mapping[str, str]
    change: Callable[[Mapping[str, bytes | None]], object]
    asked: Callable[[], list[str]]
    """Returns the kinds of requests since the last call."""
    version: list[str]
    """The requests that tell the version."""

    def download(self, target: Path, *options: str, extra: Mapping[str, str] | None = None) -> list[str]:
        """Run the command, and return what it said in the end, without the time."""
        result = run("download", self.uri, target, *options, extra={**self.extra, **(extra or {})})
        assert result.status == 0, result.stderr
        return [re.sub(r"after [\d.]+ m?s", "after", line.split(" ", 1)[1]) for line in result.stderr.splitlines()[-2:]]


def routes(log: Log) -> Callable[[], list[str]]:
    def asked() -> list[str]:
        records = log.records()
        log.clear()
        return [record.route for record in records]

    return asked


def on_the_hub(hub: Hub) -> Place:
    repository = hub.create("org/model")
    repository.commit(FILES)
    return Place("hf://org/model", {"HF_ENDPOINT": hub.endpoint}, repository.commit, routes(hub.log), ["api"])


def in_a_bucket(s3: S3Server, relay: Relay) -> Place:
    client, bucket = s3.client(), new_bucket(s3.client())

    def change(changes: Mapping[str, bytes | None]) -> None:
        for path, content in changes.items():
            if content is None:
                client.delete_object(Bucket=bucket, Key=f"m/{path}")
            else:
                client.put_object(Bucket=bucket, Key=f"m/{path}", Body=content)

    change(FILES)
    extra = {**PEOPLE, **s3.environment(), "AWS_ENDPOINT_URL": relay.endpoint}
    return Place(f"s3://{bucket}/m", extra, change, routes(relay.log), ["object", "listing"])


def on_a_web_server(web: WebServer, folder: Path) -> Place:
    files: dict[str, bytes] = {}
    seen = len(web.requests)

    def change(changes: Mapping[str, bytes | None]) -> None:
        for path, content in changes.items():
            files.pop(path, None)
            if content is not None:
                files[path] = content
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        lines = (f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in files.items())
        (folder / "SHA256SUMS").write_text("".join(lines))

    def asked() -> list[str]:
        nonlocal seen
        records, seen = web.requests[seen:], len(web.requests)
        return [record.method for record in records if urlsplit(record.path).path.startswith(f"/{folder.name}/")]

    change(FILES)
    # It asks for .artifact.sha256 first, which is not there.
    return Place(f"{web.url}/{folder.name}/", {}, change, asked, ["GET", "GET"])


@pytest.fixture(params=["hf", "s3", "http"])
def place(request: pytest.FixtureRequest, hub: Hub, s3: S3Server, web: WebServer, web_root: Path) -> Iterator[Place]:
    """The same artifact behind each scheme."""
    with Relay(s3.endpoint) as relay:
        if request.param == "hf":
            yield on_the_hub(hub)
        elif request.param == "s3":
            yield in_a_bucket(s3, relay)
        else:
            yield on_a_web_server(web, web_root / f"rerun-{abs(hash(request.node.name)) % 10**8}")


@pytest.fixture
def finished(place: Place, tmp_path: Path) -> Path:
    """A volume that has the artifact."""
    place.download(tmp_path / "volume")
    place.asked()
    return tmp_path / "volume"


def unseal(target: Path) -> None:
    marker = target / ".artifact.sha256"
    before = marker.stat()
    marker.write_text(re.sub("# seal: .*\n", "", marker.read_text()))
    os.utime(marker, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_rerun_asks_for_the_version_alone_and_says_what_every_rerun_says(place: Place, finished: Path) -> None:
    said = place.download(finished)
    assert place.asked() == place.version
    assert "nothing had to be fetched" in said[-2]
    assert said[-1].startswith("info    digest sha256:")
    unseal(finished)
    assert place.download(finished) == said
    assert set(place.asked()) >= set(LISTED[place.uri.partition(":")[0]])


def test_an_artifact_that_has_changed_is_fetched_and_known_from_then_on(place: Place, finished: Path) -> None:
    newer = {**FILES, "config.json": b"[]", "more.txt": b"more"}
    place.change({"config.json": b"[]", "more.txt": b"more", "empty.txt": None})
    place.download(finished)
    assert model(finished) == newer
    place.asked()
    place.download(finished)
    assert place.asked() == place.version


def test_a_truncated_file_is_found_and_mended_although_its_date_is_the_old_one(place: Place, finished: Path) -> None:
    victim = finished / "model.safetensors"
    before = victim.stat()
    os.truncate(victim, 100)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    place.download(finished)
    assert model(finished) == FILES


def test_other_filters_are_looked_at_and_each_is_known_from_then_on(place: Place, finished: Path) -> None:
    filters = {"AIM_HF_EXCLUDE": "sub/*, *.txt"}
    place.download(finished, extra=filters)
    assert set(place.asked()) >= set(LISTED[place.uri.partition(":")[0]])
    place.download(finished)
    assert place.asked() == place.version
    fresh = finished.parent / "fresh"
    place.download(fresh, extra=filters)
    assert sorted(model(fresh)) == ["config.json", "model.safetensors"]
    place.asked()
    place.download(fresh, extra=filters)
    assert place.asked() == place.version


def test_size_and_verify_do_what_they_always_did(place: Place, finished: Path) -> None:
    result = run("size", place.uri, extra=place.extra)
    assert json.loads(result.stdout.splitlines()[-1])["sizeBytes"] == sum(map(len, FILES.values()))
    assert "tree" in place.asked() or not place.uri.startswith("hf:")
    assert run("verify", finished).status == 0


def test_the_status_of_a_rerun_is_that_of_every_other(hub: Hub, watched: Watched, tmp_path: Path) -> None:
    place = on_the_hub(hub)
    place.download(tmp_path / "volume", extra=watched.environment)
    place.asked()
    watched.api.create_artifact("models", "again")
    watched.name = "again"
    place.download(tmp_path / "volume", extra=watched.environment)
    assert place.asked() == ["api"]
    size = sum(map(len, FILES.values()))
    progress = watched.status["progress"]
    assert (progress["percentage"], progress["downloadedBytes"], progress["totalBytes"]) == (100, size, size)


@pytest.mark.parametrize("at_once", [True, False])
def test_what_only_our_old_list_named_is_reported_and_pruned_for_good(
    place: Place, finished: Path, *, at_once: bool
) -> None:
    (finished / "sub" / "notes.txt").write_text("mine")
    place.change({"sub/tokenizer.json": None, "empty.txt": None, "config.json": b'{"new": 1}'})
    newer = {"config.json": b'{"new": 1}', "model.safetensors": FILES["model.safetensors"], "sub/notes.txt": b"mine"}
    if at_once:
        place.download(finished, "--prune")
    else:
        result = run("download", place.uri, finished, extra={**place.extra, **PEOPLE})
        (report,) = (line for line in result.stderr.splitlines() if "still here" in line)
        assert "--prune" in report
        assert "empty.txt" in report
        assert "sub/tokenizer.json" in report
        assert (finished / "sub" / "tokenizer.json").exists()
        place.download(finished, extra={"AIM_PRUNE": "true"})
    assert {path: data for path, data in model(finished).items() if path != "SHA256SUMS"} == newer
    assert run("verify", finished, extra=PEOPLE).status == 0
    assert subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=finished, check=False).returncode == 0
    place.asked()
    place.download(finished, "--prune")
    assert place.asked() == place.version
