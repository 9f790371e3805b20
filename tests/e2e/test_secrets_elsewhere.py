"""Canaries with every other command, with servers that echo requests, and whether they would be seen at all."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import pytest

from tests.command import Result
from tests.e2e.canaries import ALL, PASSWORD, SECRETS, SIGNATURE, TOKEN, Mine, handed_out, spellings
from tests.servers.blobs import Noise
from tests.servers.broken import BrokenWeb
from tests.servers.faults import FOREVER, Stall
from tests.servers.messages import Reply, Request
from tests.servers.origin import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.hub import Hub

KEYS = {"AWS_ACCESS_KEY_ID": "AKIACANARYCANARYCANA", "AWS_SECRET_ACCESS_KEY": "canary+secret/key=4711" * 2}
STAGING = {"SERVICE_ID": "service", "ADAPTER_PATH": "adapter", "JOB_ID": "job"}
FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": Noise(3 << 20, seed=17).bytes()}


def said_back(status: int, request: Request) -> Reply:
    """Answer with all that was heard, wherever an answer has room for words."""
    heard = f"{request.target} {json.dumps(dict(request.headers))}"
    header = heard.encode("ascii", errors="replace").decode()
    headers = {"X-Error-Message": header, "X-Error-Code": header, "WWW-Authenticate": header, "ETag": f'"{header}"'}
    text = f"<Error><Code>{escape(heard)}</Code><Message>{escape(heard)}</Message></Error>"
    body = text if "x-amz-date" in request.headers else json.dumps({"error": heard, "sha": heard})
    return Reply("echo", status, headers, body.encode())


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 429, 500])
@pytest.mark.parametrize("scheme", ["hf", "s3", "http"])
def test_what_a_server_says_back_is_not_said_again(scheme: str, status: int, mine: Mine) -> None:
    with Server(lambda request: said_back(status, request)) as server:
        path = f"/model.bin?X-Amz-Signature={SIGNATURE}"
        user = "alice:canary%3Apass%2Fword%405519"
        uri = {"hf": "hf://org/model", "s3": "s3://bucket/m", "http": server.origin.replace("//", f"//{user}@") + path}
        extra = {**SECRETS, **KEYS, "HF_ENDPOINT": server.origin, "AWS_ENDPOINT_URL": server.origin}
        extra["STALL_TIMEOUT"] = "2"
        result, processes = mine.run(uri[scheme], extra)
        signed = {
            record.request.headers.get("authorization", "").partition("Signature=")[2]
            for record in server.log.records()
        }
    assert result.status not in (0, 70), result.stderr
    shown = {line for line in processes if user not in line}
    assert mine.leaks(result, shown, {*ALL, *KEYS.values(), *(signed - {""})}) == []


@pytest.fixture
def private(hub: Hub) -> Hub:
    hub.tokens[TOKEN] = "alice"
    hub.create("org/model", private=True, members={"alice"}).commit(FILES)
    return hub


@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize("command", ["size", "kserve", "adapter-stage"])
def test_no_secret_comes_out_of_another_entry_point(command: str, stalls: bool, private: Hub, mine: Mine) -> None:  # noqa: FBT001
    if stalls:
        private.faults.add(Stall(after=10), route="tree" if command == "size" else "*", times=FOREVER)
    (mine.folder / "disk").mkdir()
    extra = {**SECRETS, **STAGING, "ADAPTER_PVC_ROOT": str(mine.folder / "disk"), "HF_ENDPOINT": private.endpoint}
    if stalls:
        extra["STALL_TIMEOUT"] = "2"
    result, processes = mine.run("hf://org/model", extra, command=command)
    assert result.status == (75 if stalls else 0), result.stderr
    assert mine.leaks(result, processes, {*ALL, *handed_out(private.log)}) == []


@pytest.mark.parametrize("whole", [True, False])
def test_no_header_secret_of_kserve_comes_out_of_an_archive(whole: bool, mine: Mine) -> None:  # noqa: FBT001
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("config.json" if whole else "../config.json")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"{}"))
    with BrokenWeb() as web:
        url = web.put("model.tar", buffer.getvalue()) + f"?X-Amz-Signature={SIGNATURE}"
        result, processes = mine.run(url, SECRETS, command="kserve")
    assert result.status == (0 if whole else 78), result.stderr
    assert mine.leaks(result, {line for line in processes if SIGNATURE not in line}, ALL) == []


def test_no_secret_comes_out_where_the_target_is_no_folder(private: Hub, mine: Mine) -> None:
    mine.target.write_bytes(b"a file")
    result, processes = mine.run("hf://org/model", {**SECRETS, "HF_ENDPOINT": private.endpoint})
    assert result.status == 74, result.stderr
    assert mine.leaks(result, processes, ALL) == []


HIDING_PLACES: dict[str, Callable[[Mine, str], object]] = {
    "a file": lambda mine, secret: (mine.folder / "tmp" / "left").write_text(f"x{secret}x"),
    "the name of a file": lambda mine, secret: (mine.folder / "tmp" / secret.replace("/", "")).touch(),
    "the name of a folder": lambda mine, secret: (mine.folder / secret.replace("/", "")).mkdir(),
    "the termination message": lambda mine, secret: mine.termination_message.write_text(secret),
    "the status": lambda mine, secret: mine.watched.api.write_status(
        "models", "llama", {"download": {"message": f"because of {secret}"}}
    ),
}


@pytest.mark.parametrize("secret", ALL)
def test_a_canary_is_heard_wherever_it_sings(secret: str, mine: Mine) -> None:
    mine.termination_message.touch()
    (mine.folder / "tmp").mkdir()
    assert mine.leaks(Result(0, "", ""), [], [secret]) == []
    for spelling in spellings(secret):
        assert mine.leaks(Result(0, f"x{spelling}x", ""), [], [secret])
        assert mine.leaks(Result(0, "", f"x{spelling}x"), [], [secret])
        assert mine.leaks(Result(0, "", ""), [f"python {spelling}"], [secret])


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_a_canary_is_heard_in(place: str, mine: Mine) -> None:
    mine.termination_message.touch()
    (mine.folder / "tmp").mkdir()
    secret = PASSWORD.replace("/", "").replace(":", "")
    HIDING_PLACES[place](mine, secret)
    assert mine.leaks(Result(0, "", ""), [], [secret])
