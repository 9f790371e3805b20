"""Canaries: no secret is in a log line, status, termination message, process list, file or traceback, whatever happens.

Every run here is told all secrets at once, talks at the level `debug`, and ends in its own way.
"""

from __future__ import annotations

import hashlib
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.canaries import ALL, BEARER, HEADER, PASSWORD, SECRETS, SIGNATURE, TOKEN, Mine, handed_out
from tests.servers.blobs import Noise
from tests.servers.broken import BrokenWeb, moved
from tests.servers.faults import FOREVER, Answer, Cut, Fault, Flip, HangUp, Silence, Stall, too_many_requests, web_page
from tests.servers.relay import Relay
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers.certificates import Authority
    from tests.servers.hub import Hub
    from tests.servers.s3 import S3Server

MIB = 1 << 20
FILES = {"config.json": b"{}", "model.safetensors": Noise(9 * MIB, seed=91).bytes()}
DATA = FILES["model.safetensors"]


@pytest.fixture
def private(hub: Hub) -> Hub:
    hub.tokens[TOKEN] = "alice"
    hub.create("org/model", private=True, members={"alice"}).commit(FILES)
    hub.create("org/gated", gated=True, members={"bob"}).commit(FILES)
    return hub


def timeouts(status: int) -> dict[str, str]:
    """Return short timeouts where a stall ends the run, and shorter ones for errors, which are raised before that."""
    return {75: {"STALL_TIMEOUT": "2"}, 69: {"STALL_TIMEOUT": "6"}}.get(status, {})


@dataclass(frozen=True)
class OnHub:
    """How a run from a private repository ends."""

    status: int
    route: str = ""
    fault: Fault = field(default_factory=Fault)
    times: float = FOREVER
    offset: int = 0
    uri: str = "hf://org/model"
    extra: Mapping[str, str] = field(default_factory=dict)


HUB = {
    "over Xet, well": OnHub(0),
    "over ranges, well": OnHub(0, extra={"AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}),
    "without such a repository": OnHub(66, uri="hf://org/nothing"),
    "without such a revision": OnHub(66, uri="hf://org/model@v9"),
    "before a gate": OnHub(77, uri="hf://org/gated"),
    "with a token that is not accepted": OnHub(77, extra={"HF_TOKEN": TOKEN[::-1]}),
    "with a token that cannot be sent": OnHub(78, extra={"HF_TOKEN": f"{TOKEN}\n{TOKEN}"}),
    "with a Xet token that makes no sense": OnHub(0, "token", web_page()),
    "where Xet's storage refuses": OnHub(0, "cas", Answer(401)),
    "where Xet's storage hangs up": OnHub(0, "cas", HangUp()),
    "where signed addresses are refused": OnHub(
        69, "cdn", Answer(403), extra={"AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER,HTTP"}
    ),
    "with bodies that break": OnHub(0, "cdn", Cut(after=MIB), 2, extra={"AIM_DOWNLOADER_PROTOCOL": "HTTP"}),
    "with a wrong byte for ever": OnHub(
        65, "cdn", Flip(), offset=5 * MIB, extra={"AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    ),
    "with a stall": OnHub(75, "cdn", Stall(), extra={"AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}),
    "with a listing that hangs": OnHub(75, "tree", Silence()),
    "throttled for an hour": OnHub(69, "cdn", too_many_requests("3600"), extra={"AIM_DOWNLOADER_PROTOCOL": "HTTP"}),
    "with a listing that is a web page": OnHub(69, "tree", web_page()),
    "redirected to another origin": OnHub(69, "api", moved(f"http://127.0.0.1:1/x?X-Amz-Signature={SIGNATURE}")),
    "with variables that are malformed": OnHub(78, extra={"AIM_HTTP_HEADERS": f'{{"X": "{HEADER}"', "DU_TIMEOUT": "x"}),
    "through a proxy that is away": OnHub(69, extra={"NO_PROXY": "", "HF_ENDPOINT": "http://hub.test"}),
}


@pytest.mark.parametrize("how", HUB)
def test_no_secret_of_the_hub_comes_out_of_a_run(how: str, private: Hub, mine: Mine) -> None:
    row = HUB[how]
    if row.route:
        private.faults.add(row.fault, route=row.route, times=row.times, offset=row.offset)
    extra = {**SECRETS, **timeouts(row.status), "HF_ENDPOINT": private.endpoint, **row.extra}
    result, processes = mine.run(row.uri, extra)
    assert result.status == row.status, result.stderr
    secrets = {*ALL, TOKEN[::-1], *handed_out(private.log)}
    if how == "over Xet, well":
        assert any("xet" in line for line in processes), "the child was not looked at"
    assert mine.leaks(result, processes, secrets) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("route", ["xorb", "cdn", "tree"])
def test_no_secret_comes_out_of_a_run_that_is_ended(
    route: str, signum: signal.Signals, private: Hub, mine: Mine
) -> None:
    private.faults.add(Stall(after=MIB if route != "tree" else 10), route=route, times=FOREVER)
    protocol = "XET" if route == "xorb" else "HF_TRANSFER"

    def end(process: subprocess.Popen[str]) -> None:
        assert eventually(lambda: private.log.sent(route) > 0)
        os.killpg(process.pid, signum)

    extra = {**SECRETS, "HF_ENDPOINT": private.endpoint, "AIM_DOWNLOADER_PROTOCOL": protocol}
    result, processes = mine.run("hf://org/model", extra, disturb=end)
    assert result.status == (143 if signum == signal.SIGTERM else -9), result.stderr
    assert mine.leaks(result, processes, {*ALL, *handed_out(private.log)}) == []


@dataclass(frozen=True)
class OnWeb:
    """How a run from a web server that wants a password ends; the address carries a signature, too."""

    status: int
    fault: Fault = field(default_factory=Fault)
    digest: str = hashlib.sha256(DATA).hexdigest()
    method: str = "GET"
    extra: Mapping[str, str] = field(default_factory=dict)


WEB = {
    "well": OnWeb(0),
    "without right": OnWeb(77, Answer(401), method="*"),
    "without such a file": OnWeb(66, Answer(404), method="*"),
    "with a wrong digest": OnWeb(65, digest="0" * 64),
    "with a stall": OnWeb(75, Stall()),
    "without an answer": OnWeb(75, Silence(), method="*"),
    "answered by a web page": OnWeb(65, web_page(), method="*", digest="1" * 64),
    "redirected to a file": OnWeb(69, moved(f"file:///etc/passwd?sig={SIGNATURE}"), method="*"),
    "redirected without end": OnWeb(69, moved(f"/model.bin?X-Amz-Signature={SIGNATURE}"), method="*"),
    "with an impossible digest": OnWeb(64, digest="xyz"),
}


@pytest.mark.parametrize("how", WEB)
def test_no_secret_of_a_web_address_comes_out_of_a_run(how: str, mine: Mine) -> None:
    row = WEB[how]
    user = "alice:canary%3Apass%2Fword%405519"
    with BrokenWeb() as web:
        url = web.put("model.bin", DATA).replace("://", f"://{user}@")
        web.faults.add(row.fault, method=row.method, times=FOREVER)
        uri = f"{url}?X-Amz-Signature={SIGNATURE}&X-Amz-Credential={BEARER}#sha256={row.digest}"
        result, processes = mine.run(uri, {**SECRETS, **timeouts(row.status), **row.extra})
    assert result.status == row.status, result.stderr
    # A user who writes a secret on the command line shows it there; no other process may.
    shown = {line for line in processes if user not in line}
    assert mine.leaks(result, shown, ALL) == []


def test_no_password_of_netrc_comes_out(mine: Mine, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login alice password {PASSWORD}\n")
    (tmp_path / "netrc").chmod(0o600)
    secrets = {name: value for name, value in SECRETS.items() if not name.startswith("AIM_HTTP_TOKEN")}
    with BrokenWeb() as web:
        url = web.put("model.bin", DATA, authorization="Basic nothing fits")
        result, processes = mine.run(url, {**secrets, "NETRC": str(tmp_path / "netrc")})
    assert result.status == 77, result.stderr
    assert mine.leaks(result, processes, ALL) == []


def test_no_secret_comes_out_where_the_certificate_is_not_trusted(mine: Mine, authority: Authority) -> None:
    with BrokenWeb(tls=authority.server_context()) as web:
        uri = web.put("model.bin", DATA) + f"?sig={SIGNATURE}"
        result, processes = mine.run(uri, SECRETS)
    assert result.status == 78, result.stderr
    assert mine.leaks(result, {line for line in processes if SIGNATURE not in line}, ALL) == []


ON_S3: dict[str, tuple[int, dict[str, Any]]] = {
    "well": (0, {}),
    "over one presigned stream": (0, {"protocol": "HTTP"}),
    "without such a bucket": (66, {"uri": "s3://no-such-bucket/m"}),
    "with a wrong secret key": (77, {"AWS_SECRET_ACCESS_KEY": "canary+wrong/secret=key4711wrong/secret=key"}),
    "with an expired session": (77, {"AWS_SESSION_TOKEN": "canarysessiontoken" * 4}),
    "with a stall": (75, {"fault": Stall()}),
    "with bodies that break": (0, {"fault": Cut(after=MIB), "times": 2}),
    "with one key only": (78, {"AWS_ACCESS_KEY_ID": ""}),
    "with an endpoint that has a password": (78, {"AWS_ENDPOINT_URL": f"http://alice:{BEARER}@127.0.0.1:1"}),
}


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> str:
    s3.client().create_bucket(Bucket="canaries")
    s3.client().put_object(Bucket="canaries", Key="m/model.safetensors", Body=DATA)
    return "canaries"


@pytest.fixture
def relay(s3: S3Server) -> Iterator[Relay]:
    with Relay(s3.endpoint) as server:
        yield server


@pytest.mark.parametrize("how", ON_S3)
def test_no_key_of_s3_comes_out_of_a_run(how: str, s3: S3Server, bucket: str, relay: Relay, mine: Mine) -> None:
    status, row = ON_S3[how]
    extra = {**SECRETS, **timeouts(status), **s3.environment(), "AWS_ENDPOINT_URL": relay.endpoint}
    extra |= {name: value for name, value in row.items() if name.startswith("AWS_")}
    if "protocol" in row:
        extra["AIM_DOWNLOADER_PROTOCOL"] = row["protocol"]
    if "fault" in row:
        relay.faults.add(row["fault"], route="object", method="GET", times=row.get("times", FOREVER))
    result, processes = mine.run(row.get("uri", f"s3://{bucket}/m"), extra)
    assert result.status == status, result.stderr
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    keys = {extra[name] for name in names if extra.get(name)}
    signatures = {
        record.request.headers.get("authorization", "").partition("Signature=")[2] for record in relay.log.records()
    } - {""}
    assert mine.leaks(result, processes, {*ALL, *keys, *signatures, *handed_out(relay.log)}) == []


BUG = """
import atexit, os
def patch():
    from downloader.volume import Volume
    def inventory(self, manifest):
        secrets = [value for name, value in os.environ.items() if "anary" in value]
        try:
            raise ValueError({"authorization": f"Bearer {secrets}", "secrets": secrets})
        except ValueError as error:
            raise RuntimeError(f"https://alice:{secrets[0]}@host/?X-Amz-Signature={secrets}") from error
    Volume.inventory = inventory
import importlib.abc, importlib.util, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "downloader.engine" and self in sys.meta_path:
            sys.meta_path.remove(self)
            patch()
sys.meta_path.insert(0, Finder())
"""


def test_no_secret_is_in_the_traceback_of_a_bug(private: Hub, mine: Mine, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "sitecustomize.py").write_text(BUG)
    extra = {**SECRETS, "HF_ENDPOINT": private.endpoint, "PYTHONPATH": str(tmp_path / "lib")}
    result, processes = mine.run("hf://org/model", extra)
    assert result.status == 70, result.stderr
    assert "Traceback" in result.stderr
    assert "RuntimeError" in result.last_line
    assert mine.leaks(result, processes, ALL) == []
