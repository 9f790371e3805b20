"""Mirrors: bytes from several places, each proved by the origin's digests (docs/mirrors.md)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from downloader import download
from downloader.artifact import shown_url
from tests.command import PEOPLE, Result, finish, model, run, start
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, Flip, Held, Reset, Stall, too_many_requests
from tests.servers.hub import Hub
from tests.servers.repository import Kind
from tests.servers.s3 import fill_bucket
from tests.waiting import AT_LAST, Stopwatch, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.e2e.conftest import Watched
    from tests.servers.broken import BrokenWeb
    from tests.servers.s3 import S3Server

MIB = 1 << 20
SIZES = {"config.json": 40, "a.safetensors": 9 * MIB, "b.safetensors": 3 * MIB, "sub/c.safetensors": MIB}
FILES = {path: Noise(size, seed).bytes() for seed, (path, size) in enumerate(SIZES.items())}
OTHERS = {path: Noise(size, seed + 50).bytes() for seed, (path, size) in enumerate(SIZES.items())}
"""Files of the same names and sizes, with other bytes."""
TOKEN = "hf_of_the_origin_alone"
SLACK = AT_LAST
"""Seconds that a run may take on a busy machine besides what is promised."""


@pytest.fixture
def origin(hub: Hub) -> Hub:
    """The Hub that lists the artifact."""
    hub.tokens[TOKEN] = "carol"
    hub.create("org/model").commit(FILES)
    return hub


@dataclass
class Got:
    """A run that has ended, and its report."""

    result: Result
    target: Path
    report: dict[str, object]

    @property
    def received(self) -> dict[str, int]:
        """Bytes that came from each place."""
        places: dict[str, dict[str, int]] = self.report["bytes"]["by_place"]  # type: ignore[index]
        return {place: counts["received"] for place, counts in places.items()}

    @property
    def attempts(self) -> list[str]:
        """The place of each attempt."""
        attempts: list[dict[str, str]] = self.report["attempts"]  # type: ignore[assignment]
        return [attempt["place"] for attempt in attempts]

    @property
    def served(self) -> dict[str, str | None]:
        """Which place each file came from."""
        files: list[dict[str, str]] = self.report["files"]  # type: ignore[assignment]
        return {file["path"]: file["place"] for file in files}


def put(server: BrokenWeb, files: Mapping[str, bytes], folder: str = "m") -> str:
    """Put files on a web server, without a list; return the URI of their folder."""
    for path, data in files.items():
        server.put(f"{folder}/{path}", data)
    return server.url(f"{folder}/")


def get(tmp_path: Path, origin: Hub, *arguments: str, status: int = 0, **extra: str) -> Got:
    """Download the artifact and check how that ends."""
    report = tmp_path / "report.json"
    settings = {"HF_ENDPOINT": origin.endpoint, "HF_HOME": str(tmp_path / "h"), "HF_TOKEN": TOKEN, **PEOPLE, **extra}
    result = run("download", "hf://org/model", tmp_path / "m", "--report", str(report), *arguments, extra=settings)
    assert result.status == status, result.stderr
    if not status:
        assert model(tmp_path / "m") == FILES
    return Got(result, tmp_path / "m", json.loads(report.read_bytes()))


def bodies(origin: Hub) -> int:
    """Return the bytes of files that the origin has sent."""
    return sum(origin.log.sent(route) for route in ("cdn", "xorb", "resolve"))


def test_a_near_mirror_serves_every_byte_and_the_origin_only_the_listing(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    place = put(near, FILES)
    got = get(tmp_path, origin, "--mirror", place, "--mirror-first")
    assert bodies(origin) == 0
    assert len(origin.log.records("tree")) == 1
    assert set(got.served.values()) == {place}
    assert {record.request.target for record in near.log.records()} == {f"/m/{path}" for path in FILES}


def test_a_mirror_behind_the_origin_is_not_asked_while_the_origin_serves(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    got = get(tmp_path, origin, "--mirror", put(near, FILES))
    assert near.log.records() == []
    assert set(got.served.values()) == {"hf://org/model"}


def test_another_hub_is_a_mirror_and_gets_none_of_the_origins_token(origin: Hub, tmp_path: Path) -> None:
    with Hub() as copy:
        copy.create("org/model").commit(FILES)
        place = f"hf+{copy.endpoint}/org/model"
        got = get(tmp_path, origin, "--mirror", place, "--mirror-first")
        assert set(got.served.values()) == {place}
        assert TOKEN not in {record.request.bearer for record in copy.log.records()}
        assert len(copy.log.records("tree")) == 1
    assert bodies(origin) == 0


def test_a_token_in_the_uri_of_a_mirror_is_for_that_mirror_alone(origin: Hub, tmp_path: Path) -> None:
    with Hub() as copy:
        copy.tokens["hf_of_the_mirror_alone"] = "alice"
        copy.create("org/model", private=True, members={"alice"}).commit(FILES)
        host = copy.endpoint.removeprefix("http://")
        mirror = f"hf+http://hf_of_the_mirror_alone@{host}/org/model"
        got = get(tmp_path, origin, AIM_MIRRORS=f"{mirror}, origin")
        assert set(got.served.values()) == {f"hf+http://{host}/org/model"}
    assert {record.request.bearer for record in origin.log.records("tree")} == {TOKEN}
    assert "hf_of_the_mirror_alone" not in got.result.stderr + json.dumps(got.report)


def test_a_bucket_is_a_mirror_by_a_profile_of_its_own(origin: Hub, s3: S3Server, tmp_path: Path) -> None:
    fill_bucket(s3.client(), "near", {f"m/{path}": data for path, data in FILES.items()})
    config = tmp_path / "aws"
    keys = s3.account
    config.write_text(
        f"[profile near]\naws_access_key_id = {keys.access_key_id}\naws_secret_access_key = {keys.secret_access_key}\n"
        f"region = us-east-1\nendpoint_url = {s3.endpoint}\n"
    )
    got = get(
        tmp_path,
        origin,
        "--mirror",
        "s3://near/m?profile=near",
        "--mirror-first",
        AWS_CONFIG_FILE=str(config),
        # What the environment says is for another service.
        AWS_ACCESS_KEY_ID="other",
        AWS_SECRET_ACCESS_KEY="other",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
    )
    assert set(got.served.values()) == {"s3://near/m"}
    assert bodies(origin) == 0


def test_a_poisoned_mirror_is_named_once_given_up_after_three_files_and_cannot_win(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    place = put(near, {**OTHERS, "config.json": FILES["config.json"]})
    twice = ("--mirror", place, "--mirror", place)
    got = get(tmp_path, origin, *twice, "--mirror-first", "--connections", "1")
    assert got.attempts.count(place) == 1, "a mirror that is named twice is one"
    assert got.result.stderr.count(f"mirror {place} is wrong: ") == 1
    assert f"mirror {place} was wrong 3 times" in got.result.stderr
    assert {path for path, at in got.served.items() if at == place} <= {"config.json"}


def test_a_file_that_a_mirror_damages_comes_from_the_next_place(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    place = put(near, FILES)
    near.faults.add(Flip(), path="*/b.safetensors", offset=2 * MIB, times=FOREVER)
    got = get(tmp_path, origin, "--mirror", place, "--mirror-first")
    assert [path for path, at in got.served.items() if at != place] == ["b.safetensors"]
    assert len(near.log.records(path="*/b.safetensors")) == 1, "what is wrong is not asked for twice"


def test_a_mirror_that_has_some_files_serves_those(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    place = put(near, {"a.safetensors": FILES["a.safetensors"]})
    got = get(tmp_path, origin, "--mirror", place, "--mirror-first")
    assert [path for path, at in got.served.items() if at == place] == ["a.safetensors"]
    assert "mirror" not in got.result.stderr.replace(place, ""), "what it lacks is no fault"


def test_a_mirror_without_a_list_is_not_asked_for_each_of_many_files_that_it_lacks(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    small = {f"{number:04}.json": b"[%d]" % number for number in range(600)}
    origin.create("org/many").commit({**small, "z.safetensors": FILES["b.safetensors"]})
    place = put(near, {"z.safetensors": FILES["b.safetensors"]})
    settings = {"HF_ENDPOINT": origin.endpoint, **PEOPLE}
    uri, mirror = "hf://org/many", ("--mirror", place, "--mirror-first")
    result = run("download", uri, tmp_path / "m", *mirror, "--connections", "4", extra=settings)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "m").keys() == {*small, "z.safetensors"}
    assert origin.log.sent("cdn") + origin.log.sent("xorb") == 0, "it is asked for the largest first"
    assert len(near.log.records()) < 300
    assert "lacks 32 files in a row" in result.stderr


def test_a_stale_hub_serves_what_has_not_changed_and_no_byte_of_the_rest(origin: Hub, tmp_path: Path) -> None:
    with Hub() as copy:
        copy.create("org/model").commit({**FILES, "a.safetensors": OTHERS["a.safetensors"]})
        place = f"hf+{copy.endpoint}/org/model"
        got = get(tmp_path, origin, "--mirror", place, "--mirror-first")
        assert [path for path, at in got.served.items() if at != place] == ["a.safetensors"]
        assert got.result.stderr.count("has another version of a.safetensors") == 1
        assert sum(copy.log.sent(route) for route in ("cdn", "xorb")) < len(FILES["a.safetensors"])


def test_a_mirror_of_something_else_costs_its_listing(origin: Hub, tmp_path: Path) -> None:
    with Hub() as copy:
        copy.create("org/model").commit(OTHERS)
        got = get(tmp_path, origin, "--mirror", f"hf+{copy.endpoint}/org/model", "--mirror-first")
        assert sum(copy.log.sent(route) for route in ("cdn", "xorb", "resolve")) == 0
    assert set(got.served.values()) == {"hf://org/model"}


@pytest.mark.parametrize("how", ["refuse", "ignore"])
def test_a_dead_mirror_costs_ten_seconds_once(origin: Hub, near: BrokenWeb, tmp_path: Path, how: str) -> None:
    place = put(near, FILES)
    getattr(near.server, how)()
    watch = Stopwatch()
    got = get(tmp_path, origin, "--mirror", place, "--mirror-first")
    assert watch.undisturbed < 10.0 + 5.0
    assert watch.seconds < 10.0 + SLACK
    assert got.attempts == [place, "hf://org/model"]


def test_a_stalled_mirror_costs_the_stall_timeout_once_and_what_it_brought_stays(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    place = put(near, FILES)
    near.faults.add(Stall(seconds=None), path="*/a.safetensors", offset=8 * MIB, times=FOREVER)
    # The mirror has two routes here, so that it could be asked twice.
    protocols = "HF_TRANSFER,RANGES,HTTP"
    got = get(tmp_path, origin, "--mirror", place, "--mirror-first", "--protocol", protocols, STALL_TIMEOUT="4")
    assert got.attempts == [place, "hf://org/model"]
    assert got.served["a.safetensors"] == "hf://org/model"
    assert bodies(origin) < 4 * MIB, "the first half is not fetched again"


def test_a_mirror_that_asks_for_a_long_pause_is_not_waited_for(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    place = put(near, FILES)
    near.faults.add(too_many_requests("300"), times=FOREVER)
    got = get(tmp_path, origin, "--mirror", place, "--mirror-first")
    assert set(got.served.values()) == {"hf://org/model"}


def shut(hub: Hub) -> None:
    """Close the storage of a Hub, which goes on to list."""
    for server in (hub.cdn.server, hub.xet.server, hub.xet.transfer_host):
        server.refuse()


def gate(hub: Hub) -> None:
    """Let only members read the files, which all users can list."""
    hub.repositories[Kind.MODEL, "org/model"].gated = True


def damage(hub: Hub) -> None:
    """Change a byte of each file."""
    hub.faults.add(Flip(), route="cdn", offset=1000, times=FOREVER)


ORIGINS: dict[str, Callable[[Hub], None]] = {
    "whose storage is down": shut,
    "whose files are gated": gate,
    "that refuses its files": lambda hub: hub.faults.add(Answer(403), route="resolve", times=FOREVER),
    "whose storage damages bytes": damage,
    "that throttles": lambda hub: hub.faults.add(too_many_requests("400"), route="resolve", times=FOREVER),
}


@pytest.mark.parametrize("fault", ORIGINS)
def test_a_mirror_stands_in_for_an_origin(origin: Hub, near: BrokenWeb, tmp_path: Path, fault: str) -> None:
    place = put(near, FILES)
    ORIGINS[fault](origin)
    got = get(tmp_path, origin, "--mirror", place, "--protocol", "HF_TRANSFER,HTTP")
    assert got.served["a.safetensors"] == place


def test_where_no_place_has_a_file_the_run_ends_as_the_origin_would_end_it(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    place = put(near, {"a.safetensors": FILES["a.safetensors"]})
    gate(origin)
    result = get(tmp_path, origin, "--mirror", place, "--protocol", "HF_TRANSFER", status=77).result
    assert "gated" in result.last_line
    assert (tmp_path / "m/a.safetensors").read_bytes() == FILES["a.safetensors"]


def test_half_a_file_of_a_poisoned_mirror_does_not_harm_the_next_place(
    origin: Hub, near: BrokenWeb, tmp_path: Path
) -> None:
    place = put(near, OTHERS)
    near.faults.add(Reset(), path="*/a.safetensors", offset=5 * MIB, times=FOREVER)
    near.faults.add(Answer(404), path="*/[bc]*", times=FOREVER)
    got = get(tmp_path, origin, "--mirror", place, "--mirror-first", "--protocol", "HF_TRANSFER,HTTP")
    assert got.served["a.safetensors"] == "hf://org/model"


def test_after_a_kill_another_place_continues_within_the_file(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    large = Noise(48 * MIB, 9).bytes()
    origin.create("org/large").commit({"large.safetensors": large})
    held = Held()
    near.faults.add(held, path="*/large.safetensors", offset=40 * MIB, times=FOREVER)
    place, target = put(near, {"large.safetensors": large}), tmp_path / "m"
    settings = {"HF_ENDPOINT": origin.endpoint, **PEOPLE}
    process = start("download", "hf://org/large", target, "--mirror", place, "--mirror-first", extra=settings)
    # A journal begins with a line that names the file; the second one is of bytes.
    assert eventually(lambda: any(path.read_bytes().count(b"\n") > 1 for path in target.rglob("*.journal")))
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    held.go_on.set()
    result = run("download", "hf://org/large", target, "--protocol", "HF_TRANSFER", extra=settings)
    assert result.status == 0, result.stderr
    assert model(target) == {"large.safetensors": large}
    assert bodies(origin) < len(large) - 8 * MIB


def test_mirrors_cost_a_finished_volume_nothing(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    get(tmp_path, origin)
    place = put(near, FILES)
    origin.log.clear()
    get(tmp_path, origin, "--mirror", place, "--mirror-first")
    assert near.log.records() == []
    assert bodies(origin) == 0


def test_files_without_a_cryptographic_digest_come_from_the_origin_only(
    own_web: BrokenWeb, near: BrokenWeb, tmp_path: Path
) -> None:
    uri = own_web.put("m/weights.bin", FILES["b.safetensors"])
    mirror = near.put("m/weights.bin", OTHERS["b.safetensors"])
    result = run("download", uri, tmp_path / "m", "--mirror", mirror, "--mirror-first", extra=PEOPLE)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "m") == {"weights.bin": FILES["b.safetensors"]}
    assert near.log.records() == []


def test_the_headers_of_the_artifact_are_not_sent_to_a_mirror(
    own_web: BrokenWeb, near: BrokenWeb, tmp_path: Path
) -> None:
    data = FILES["b.safetensors"]
    uri = own_web.put("m/weights.bin", data) + "#sha256=" + hashlib.sha256(data).hexdigest()
    mirror = near.put("m/weights.bin", data)
    extra = {**PEOPLE, "AIM_HTTP_TOKEN": "sesame-of-the-origin", "AIM_HTTP_HEADERS": '{"X-Key": "key-of-the-origin"}'}
    result = run("download", uri, tmp_path / "m", "--mirror", mirror, "--mirror-first", extra=extra)
    assert result.status == 0, result.stderr
    heads = [record.request.headers for record in near.log.records()]
    assert heads
    assert not any("authorization" in head or "x-key" in head for head in heads)
    assert [record for record in own_web.log.records() if record.request.method == "GET"] == []


@pytest.mark.parametrize(
    ("mirrors", "words"),
    [
        ("ftp://host/m", "'ftp'"),
        ("near", "origin"),
        ("hf+https:///org/model", "names no Hub"),
        ("s3://bucket/m?endpoint=nowhere", "the endpoint of s3://bucket/m"),
    ],
)
def test_a_mirror_that_cannot_be_one_is_refused_at_the_start(
    origin: Hub, tmp_path: Path, mirrors: str, words: str
) -> None:
    settings = {"HF_ENDPOINT": origin.endpoint, **PEOPLE}
    by_option = run("download", "hf://org/model", tmp_path / "m", "--mirror", mirrors, extra=settings)
    by_variable = run("download", "hf://org/model", tmp_path / "m", extra={**settings, "AIM_MIRRORS": mirrors})
    assert by_option.status == 64
    assert by_variable.status in (64, 78)
    for result in (by_option, by_variable):
        assert words in result.last_line
        assert "AIM_MIRRORS" in result.last_line or "--mirror" in result.last_line or mirrors[:8] in result.last_line
    assert origin.log.records() == []


def test_a_folder_of_this_machine_is_a_mirror(origin: Hub, tmp_path: Path) -> None:
    for path, data in FILES.items():
        (tmp_path / "copy" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / path).write_bytes(data)
    place = f"file://{tmp_path}/copy"
    got = get(tmp_path, origin, "--mirror", place, "--mirror-first")
    assert set(got.served.values()) == {place}
    assert bodies(origin) == 0


def _link(folder: Path) -> None:
    (folder / "a.safetensors").rename(folder.parent / "blob")
    (folder / "a.safetensors").symlink_to(folder.parent / "blob")


FOLDERS: dict[str, Callable[[Path], object]] = {
    "with a link out of it": lambda folder: (folder / "extra").symlink_to("/etc/passwd"),
    "with a linked folder": lambda folder: (folder / "more").symlink_to("/"),
    "with a link in the place of a file": _link,
    "with a pipe": lambda folder: os.mkfifo(folder / "pipe"),
    "that a run is filling": lambda folder: (folder / ".downloading").mkdir(),
    "whose list has more": lambda folder: (folder / ".artifact.sha256").write_text(f"{'0' * 64}  gone.bin\n"),
    "whose list is broken": lambda folder: (folder / ".artifact.sha256").write_text("rubbish\n"),
    "without one of its folders": lambda folder: shutil.rmtree(folder / "sub"),
}


@pytest.mark.parametrize("fault", FOLDERS)
def test_a_folder_of_this_machine_serves_the_files_that_it_has(origin: Hub, tmp_path: Path, fault: str) -> None:
    for path, data in FILES.items():
        (tmp_path / "copy" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / path).write_bytes(data)
    FOLDERS[fault](tmp_path / "copy")
    place = f"file://{tmp_path}/copy"
    got = get(tmp_path, origin, "--mirror", place, "--mirror-first")
    has = {
        path for path in FILES if (tmp_path / "copy" / path).is_file() and not (tmp_path / "copy" / path).is_symlink()
    }
    assert {path for path, at in got.served.items() if at == place} == has


def test_the_cache_of_the_hub_is_filled_from_a_mirror(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    settings = {"HF_ENDPOINT": origin.endpoint, "AIM_MIRRORS": f"{put(near, FILES)},origin", **PEOPLE}
    result = run("download", "hf://org/model", f"--hub-cache={tmp_path}/hub", extra=settings)
    assert result.status == 0, result.stderr
    (snapshot,) = (tmp_path / "hub").glob("models--*/snapshots/*")
    assert {path: (snapshot / path).read_bytes() for path in FILES} == FILES
    assert bodies(origin) == 0


def test_kserve_and_adapters_take_mirrors_too(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    settings = {"HF_ENDPOINT": origin.endpoint, "AIM_MIRRORS": put(near, FILES), "AIM_MIRROR_FIRST": "1"}
    result = run("kserve", "hf://org/model", tmp_path / "m", extra=settings)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "m") == FILES
    disk = {"ADAPTER_PVC_ROOT": str(tmp_path), "SERVICE_ID": "service", "ADAPTER_PATH": "adapter", "ARTIFACT_NAME": ""}
    result = run("adapter-stage", "hf://org/model", extra={**settings, **disk})
    assert result.status == 0, result.stderr
    assert {path: (tmp_path / "service/adapter" / path).read_bytes() for path in FILES} == FILES
    assert bodies(origin) == 0
    pairs = ("hf://org/model", tmp_path / "a", "hf://org/model", tmp_path / "b")
    refused = run("kserve", *pairs, extra=settings)
    assert refused.status == 78
    assert "AIM_MIRRORS" in refused.last_line


def test_a_plan_and_the_doctor_name_each_place(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    place = put(near, {"a.safetensors": FILES["a.safetensors"]})
    settings = {"HF_ENDPOINT": origin.endpoint, **PEOPLE}
    plan = run("download", "hf://org/model", tmp_path / "m", "--dry-run", "--mirror", place, extra=settings)
    assert plan.status == 0, plan.stderr
    assert (
        f"XET at hf://org/model, HF_TRANSFER at hf://org/model, HTTP at hf://org/model, RANGES at {place}"
        in plan.stdout
    )
    found = run("doctor", "hf://org/model", tmp_path, "--mirror", place, "--json", extra=settings)
    mirror = [line for line in json.loads(found.stdout)["findings"] if place.partition("/m/")[0][7:] in str(line)]
    assert found.status == 0, found.stderr
    assert len(mirror) > 3, "its host is checked like any other"


def test_the_python_api_takes_mirrors(origin: Hub, near: BrokenWeb, tmp_path: Path) -> None:
    place = put(near, FILES)
    artifact = download(
        "hf://org/model",
        tmp_path / "m",
        environ={"HF_ENDPOINT": origin.endpoint},
        mirrors=[place, "origin"],
    )
    assert artifact.count == len(FILES)
    assert bodies(origin) == 0


def test_the_status_counts_attempts_in_the_sequence_of_all_places_and_names_the_place(
    origin: Hub, near: BrokenWeb, watched: Watched, tmp_path: Path
) -> None:
    """The operator shows these fields as they are: an attempt is a position in the sequence (ADR 84)."""
    place = put(near, {**OTHERS, "config.json": FILES["config.json"]})
    extra = {"HF_ENDPOINT": origin.endpoint, "HF_TOKEN": TOKEN, "AIM_MIRRORS": f"{place},origin", **watched.environment}
    result = run("download", "hf://org/model", tmp_path / "m", extra={**extra, "AIM_DOWNLOADER_PROTOCOL": "XET,HTTP"})
    assert result.status == 0, result.stderr
    seen = [state["download"] for state in watched.api.history("models", watched.name) if "download" in state]
    running = [state for state in seen if state.get("attempt")]
    assert {state["protocolSequence"] for state in running} == {"HTTP,XET,HTTP"}
    sequence = ["HTTP", "XET", "HTTP"]
    for state in running:
        assert state["totalAttempts"] == len(sequence)
        assert state["protocol"] == sequence[state["attempt"] - 1]
    attempts = [state["attempt"] for state in running]
    assert attempts == sorted(attempts)
    assert attempts[-1] == 2
    assert any(shown_url(place) in state["message"] for state in running if state.get("message"))
