"""One table of broken web servers: each row is a sentence, and ends in right bytes or in the right error."""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.command import content, run
from tests.servers.blobs import Noise
from tests.servers.broken import (
    BrokenWeb,
    ClaimTotal,
    Endless,
    IgnoreConditions,
    LongPart,
    Meanwhile,
    NoLength,
    ShortPart,
    compressed,
    digest_headers,
    moved,
)
from tests.servers.faults import (
    Answer,
    Cut,
    Exchange,
    Fault,
    Flip,
    HangUp,
    Headers,
    IgnoreRange,
    Misdeclare,
    Reset,
    ShiftRange,
    Silence,
    Stall,
    Trickle,
    too_many_requests,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.faults import Exchange

MIB = 1 << 20
FILE = Noise(13 * MIB + 4321, seed=11).bytes()
OTHER = Noise(13 * MIB + 4321, seed=12).bytes()
RIGHT = 0
EVER = float("inf")


@dataclass(frozen=True)
class Broken:
    """A fault on GET, where it strikes, how often, and how the run ends over one protocol and the other."""

    fault: Fault
    ranges: int = RIGHT
    stream: int = RIGHT
    offset: int = 0
    times: float = 1
    skip: int = 0
    headers: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PauseUntil(Fault):
    """A pause is asked for that ends at a date, so many seconds after the request."""

    seconds: float

    def prepare(self, exchange: Exchange) -> None:
        date = email.utils.formatdate(time.time() + self.seconds, usegmt=True)
        exchange.replace(429, {"Retry-After": date}, b"slow down")


@dataclass(frozen=True, slots=True)
class OnRanges(Fault):
    """A fault that strikes every part of a file, and spares who asks for the whole."""

    fault: Fault

    def play(self, exchange: Exchange, after: int) -> None:
        struck = self.fault if "Content-Range" in exchange.headers else Fault()
        struck.play(exchange, after)


BROKEN = {
    "ranges are ignored for ever": Broken(IgnoreRange(), ranges=69, times=EVER),
    "ranges are ignored once": Broken(IgnoreRange()),
    "a range begins at a wrong offset": Broken(ShiftRange(by=5), ranges=69, stream=69, times=EVER),
    "Content-Range names another total": Broken(ClaimTotal(by=1), ranges=65, stream=69, times=EVER),
    "a part is shorter than its range, and says so": Broken(ShortPart(by=3), ranges=69, stream=65, times=EVER),
    "a part is longer than its range, and says so": Broken(LongPart(by=3), ranges=69, stream=65, times=EVER),
    "more bytes come than the file has, without a length": Broken(
        LongPart(by=3, admitted=False), ranges=69, stream=69, times=EVER
    ),
    "the body never ends": Broken(Endless(), ranges=69, stream=69, times=EVER),
    "the connection is closed in mid-body once": Broken(Cut(), offset=5 * MIB),
    "the connection is closed every few megabytes": Broken(Cut(after=2 * MIB), times=5),
    "the connection is reset in mid-body once": Broken(Reset(), offset=5 * MIB),
    "the connection is reset before each answer": Broken(HangUp(reset=True), times=3),
    "the body stops coming once": Broken(Stall(), offset=5 * MIB),
    "the body stops coming for ever": Broken(Stall(), ranges=75, stream=75, offset=5 * MIB, times=EVER),
    "the body comes at 100 bytes a second for ever": Broken(
        Trickle(rate=100), ranges=75, stream=75, offset=5 * MIB, times=EVER
    ),
    "no answer comes to a request once": Broken(Silence()),
    "no answer comes to any request": Broken(Silence(), ranges=75, stream=75, times=EVER),
    "Content-Length promises too much": Broken(Misdeclare(by=1000), ranges=69, stream=65, times=EVER),
    "Content-Length promises too little": Broken(Misdeclare(by=-1000), ranges=69, stream=65, times=EVER),
    "no length is told, in chunks": Broken(NoLength(), times=EVER),
    "no length is told, until the connection ends": Broken(NoLength(chunked=False), times=EVER),
    "one byte is wrong once": Broken(Flip(), offset=5 * MIB),
    "one byte is wrong always": Broken(Flip(), ranges=65, stream=65, offset=5 * MIB, times=EVER),
    "a pause of a second is asked for": Broken(too_many_requests("1"), times=3),
    "a pause until a date is asked for": Broken(PauseUntil(1.2)),
    "a pause is asked for without saying how long": Broken(too_many_requests(), times=2),
    "a pause of an hour is asked for": Broken(too_many_requests("3600"), ranges=69, stream=69, times=EVER),
    "the server is overloaded three times": Broken(Answer(503), times=3),
    "the server is overloaded for ever": Broken(Answer(503), ranges=69, stream=69, times=EVER),
    "the server has an inner error twice": Broken(Answer(500), times=2),
    "the body is compressed although it must not be": Broken(compressed(FILE), ranges=69, times=EVER),
    "a web page comes instead of the file": Broken(
        Answer(200, {"Content-Type": "text/html"}, b"<p>log in"), ranges=69, stream=69, times=EVER
    ),
    "access ends half-way": Broken(Answer(403), ranges=77, stream=69, times=EVER, skip=1),
    "the file disappears half-way": Broken(Answer(404), ranges=66, stream=66, times=EVER),
}


def landed(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in content(folder).items() if not path.startswith(".")}


@pytest.mark.parametrize("protocol", ["RANGES", "HTTP"])
@pytest.mark.parametrize("sentence", BROKEN)
def test_when(sentence: str, protocol: str, own_web: BrokenWeb, tmp_path: Path) -> None:
    row = BROKEN[sentence]
    url = own_web.put("file.bin", FILE, headers=row.headers)
    if protocol == "HTTP" and row.skip:
        own_web.faults.add(Cut(after=5 * MIB), method="GET")
    own_web.faults.add(
        row.fault, method="GET", offset=row.offset, times=row.times, skip=0 if protocol == "HTTP" else row.skip
    )
    uri = f"{url}#sha256={hashlib.sha256(FILE).hexdigest()}"
    expected = row.ranges if protocol == "RANGES" else row.stream
    # Where silence does not end the run, it is borne for longer: a busy machine may be silent, too.
    extra = {"STALL_TIMEOUT": "3" if expected == 75 else "8", "AIM_DOWNLOADER_PROTOCOL": protocol}
    if row.skip:
        extra["AIM_CONNECTIONS"] = "1"  # with more, the second answer may come before the first one
    result = run("download", uri, tmp_path, extra=extra)
    assert result.status == expected, result.stderr
    assert landed(tmp_path) == ({} if result.status else {"file.bin": FILE})


@pytest.mark.parametrize(
    "fault",
    [IgnoreRange(), ShiftRange(by=5), ShortPart(by=3), Misdeclare(by=1000)],
    ids=lambda fault: type(fault).__name__,
)
def test_where_ranges_do_not_work_one_stream_does(fault: Fault, own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("file.bin", FILE)
    own_web.faults.add(OnRanges(fault), method="GET", times=EVER)
    result = run("download", url, tmp_path, extra={"AIM_CONNECTIONS": "1"})
    assert result.status == 0, result.stderr
    assert landed(tmp_path) == {"file.bin": FILE}
    assert "switching to HTTP" in result.stderr
    assert [record.range for record in own_web.log.records(method="GET") if record.status == 200][-1:] == [None]


@pytest.mark.parametrize("conditions", ["obeyed", "ignored"])
def test_a_file_that_changes_half_way_is_never_mixed(own_web: BrokenWeb, tmp_path: Path, conditions: str) -> None:
    url = own_web.put("file.bin", FILE)
    own_web.faults.add(Meanwhile(lambda: own_web.put("file.bin", OTHER)), method="GET", skip=1)
    if conditions == "ignored":
        own_web.faults.add(IgnoreConditions(), times=EVER)
    result = run("download", url, tmp_path, extra={"AIM_CONNECTIONS": "1"})
    assert result.status == 0, result.stderr
    assert landed(tmp_path) == {"file.bin": OTHER}


def test_a_change_is_noticed_by_its_date_where_there_are_no_entity_tags(own_web: BrokenWeb, tmp_path: Path) -> None:
    then, now = email.utils.formatdate(1e9, usegmt=True), email.utils.formatdate(1.1e9, usegmt=True)
    url = own_web.put("file.bin", FILE, headers={"ETag": None, "Last-Modified": then})

    def replace() -> None:
        own_web.put("file.bin", OTHER, headers={"ETag": None, "Last-Modified": now})

    own_web.faults.add(Meanwhile(replace), method="GET", skip=1)
    result = run("download", url, tmp_path, extra={"AIM_CONNECTIONS": "1"})
    assert result.status == 0, result.stderr
    assert landed(tmp_path) == {"file.bin": OTHER}


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_refused_head_is_asked_again_as_get(own_web: BrokenWeb, tmp_path: Path, status: int) -> None:
    url = own_web.put("file.bin", FILE)
    own_web.faults.add(Answer(status), method="HEAD", times=EVER)
    assert run("download", url, tmp_path).status == 0
    assert landed(tmp_path) == {"file.bin": FILE}


@pytest.mark.parametrize("header", [name for name in digest_headers(b"") if name != "Content-MD5"])
def test_each_digest_header_is_believed(own_web: BrokenWeb, tmp_path: Path, header: str) -> None:
    wrong = digest_headers(OTHER)[header]
    url = own_web.put("file.bin", FILE, headers={header: wrong})
    result = run("download", url, tmp_path)
    assert result.status == 65, result.stderr
    own_web.put("file.bin", FILE, headers={header: digest_headers(FILE)[header]})
    result = run("download", url, tmp_path)
    assert result.status == 0, result.stderr
    assert "size only" not in result.stderr


def test_a_digest_in_the_uri_beats_what_the_server_says(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("file.bin", FILE, headers=digest_headers(FILE))
    result = run("download", f"{url}#sha256={hashlib.sha256(OTHER).hexdigest()}", tmp_path)
    assert result.status == 65
    assert landed(tmp_path) == {}


@pytest.mark.parametrize("keep", ["", "1"])
def test_what_failed_its_verification_is_kept_only_when_asked_for(
    own_web: BrokenWeb, tmp_path: Path, keep: str
) -> None:
    url = own_web.put("file.bin", FILE)
    uri = f"{url}#sha256={hashlib.sha256(OTHER).hexdigest()}"
    assert run("download", uri, tmp_path, extra={"AIM_KEEP_METADATA_ON_FAILURE": keep}).status == 65
    kept = [path for path in (tmp_path / ".downloading").glob("**/*") if path.is_file() and path.stat().st_size > MIB]
    assert [path.read_bytes() == FILE for path in kept] == ([True] if keep else [])
    own_web.put("file.bin", OTHER)
    assert run("download", uri, tmp_path).status == 0
    assert not (tmp_path / ".downloading").exists()


def test_redirects_are_followed_without_the_credentials_of_the_first_origin(own_web: BrokenWeb, tmp_path: Path) -> None:
    with BrokenWeb() as elsewhere:
        target = elsewhere.put("stored.bin", FILE)
        url = own_web.put("file.bin", FILE, authorization="Bearer word")
        own_web.faults.add(moved(target), method="*", times=EVER)
        extra = {"AIM_HTTP_TOKEN": "word", "AIM_HTTP_HEADERS": '{"X-Api-Key": "key-of-mine"}'}
        result = run("download", url, tmp_path, extra=extra)
        assert result.status == 0, result.stderr
        seen = [record.request.headers for record in elsewhere.log.records()]
        assert seen
        assert not any("authorization" in headers or "x-api-key" in headers for headers in seen)
    assert all(record.request.headers["x-api-key"] == "key-of-mine" for record in own_web.log.records())
    assert len(own_web.log.records(method="GET")) <= 8


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/file.bin"])
def test_redirects_that_lead_nowhere_good_end_the_run(own_web: BrokenWeb, tmp_path: Path, target: str) -> None:
    url = own_web.put("file.bin", FILE)
    own_web.faults.add(moved(target), method="*", times=EVER)
    result = run("download", url, tmp_path)
    assert result.status == 69, result.stderr
    assert "redirects" in result.last_line


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ({}, 77),
        ({"AIM_HTTP_TOKEN": "wrong"}, 77),
        ({"AIM_HTTP_TOKEN": "word"}, 0),
        ({"AIM_HTTP_HEADERS": '{"Authorization": "Bearer word"}'}, 0),
    ],
)
def test_credentials_come_from_the_environment(
    own_web: BrokenWeb, tmp_path: Path, extra: dict[str, str], status: int
) -> None:
    url = own_web.put("file.bin", FILE, authorization="Bearer word")
    result = run("download", url, tmp_path, extra=extra)
    assert result.status == status, result.stderr
    assert "word" not in result.stderr


def test_a_password_comes_from_netrc_or_from_the_uri_and_is_never_shown(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("file.bin", FILE, authorization="Basic bWU6c2VzYW1l")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password sesame\n")
    netrc.chmod(0o600)
    assert run("download", url, tmp_path / "a", extra={"NETRC": str(netrc)}).status == 0
    netrc.rename(tmp_path / ".netrc")
    assert run("download", url, tmp_path / "home", extra={"HOME": str(tmp_path)}).status == 0
    result = run("download", url.replace("://", "://me:sesame@"), tmp_path / "b")
    assert result.status == 0
    assert "sesame" not in result.stderr
    assert "sesame" not in (tmp_path / "b" / ".artifact.sha256").read_text()


def test_what_is_compressed_on_the_server_stays_so(own_web: BrokenWeb, tmp_path: Path) -> None:
    packed = gzip.compress(FILE[:1000])
    url = own_web.put("file.json.gz", packed, headers=dict(Headers({}).changes))
    assert run("download", url, tmp_path).status == 0
    assert landed(tmp_path) == {"file.json.gz": packed}
