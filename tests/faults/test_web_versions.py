"""Several answers about one web file: what may be put together, from nodes that differ and from files that change."""

from __future__ import annotations

import email.utils
import hashlib
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.command import finish, model, run, start
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, BodyFault, EveryNth, Exchange, Fault, IgnoreRange, ShiftRange, ShortenRange
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.servers.broken import BrokenWeb

MIB = 1 << 20
SIZE = 13 * MIB + 4321
OLD, NEW = Noise(SIZE, seed=21).bytes(), Noise(SIZE, seed=22).bytes()
THEN, LATER = email.utils.formatdate(1e9, usegmt=True), email.utils.formatdate(1e9 + 7, usegmt=True)


@dataclass(frozen=True, slots=True)
class ReplacedThere(BodyFault):
    """The file is replaced, and the connection ends."""

    replace: Callable[[], object] = field(default=lambda: None)

    def inject(self, exchange: Exchange) -> None:
        self.replace()
        exchange.end(reset=False)


@dataclass(frozen=True, slots=True)
class Unmarked(Fault):
    """What is there now, without this header, whatever version was asked for."""

    name: str

    def prepare(self, exchange: Exchange) -> None:
        exchange.ignore_conditions()
        exchange.headers.pop(self.name, None)


UNMARKED: dict[str, tuple[Mapping[str, str | None], Fault]] = {
    "without a validator": ({"ETag": None}, Fault()),
    "with an entity tag in HEAD only": ({}, Unmarked("ETag")),
    "with a date in HEAD only": ({"ETag": None, "Last-Modified": THEN}, Unmarked("Last-Modified")),
}


@pytest.mark.parametrize("sequence", ["", "RANGES", "HTTP"])
@pytest.mark.parametrize("sentence", UNMARKED)
def test_a_file_that_is_replaced_during_the_run_is_never_mixed_though_it_comes(
    own_web: BrokenWeb, tmp_path: Path, sentence: str, sequence: str
) -> None:
    headers, fault = UNMARKED[sentence]
    url = own_web.put("model.bin", OLD, headers=headers)
    replace = ReplacedThere(replace=lambda: own_web.put("model.bin", NEW, headers=headers))
    own_web.faults.add(_Both(fault, replace), method="GET", offset=5 * MIB)
    own_web.faults.add(fault, method="GET", times=FOREVER)
    extra = {"AIM_CONNECTIONS": "1", **({"AIM_DOWNLOADER_PROTOCOL": sequence} if sequence else {})}
    result = run("download", url, tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) in ({"model.bin": OLD}, {"model.bin": NEW})


@dataclass(frozen=True, slots=True)
class _Both(BodyFault):
    """Changes of the head, and then of the body."""

    head: Fault = field(default_factory=Fault)
    then: BodyFault = field(default_factory=BodyFault)

    def __init__(self, head: Fault, then: BodyFault) -> None:
        object.__setattr__(self, "head", head)
        object.__setattr__(self, "then", then)
        object.__setattr__(self, "after", then.after)

    def play(self, exchange: Exchange, after: int) -> None:
        self.head.prepare(exchange)
        self.then.play(exchange, after)


@pytest.mark.parametrize("sentence", UNMARKED)
def test_a_file_that_is_replaced_between_kill_and_resume_is_never_mixed_though_it_comes(
    own_web: BrokenWeb, tmp_path: Path, sentence: str
) -> None:
    headers, fault = UNMARKED[sentence]
    url = own_web.put("model.bin", OLD, headers=headers)
    own_web.faults.add(fault, method="GET", times=FOREVER)
    extra = {"AIM_BANDWIDTH": "20M"}
    process = start("download", url, tmp_path, extra=extra)
    assert eventually(lambda: own_web.log.sent() > 8 * MIB)
    os.killpg(process.pid, signal.SIGTERM)  # which keeps all that has come
    assert finish(process).status == 143
    own_web.put("model.bin", NEW, headers=headers)
    result = run("download", url, tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": NEW}


def test_a_stream_that_breaks_is_read_again_and_compared_where_nothing_else_tells(
    own_web: BrokenWeb, tmp_path: Path
) -> None:
    url = own_web.put("model.bin", OLD, headers={"ETag": None})
    own_web.faults.add(ReplacedThere(5 * MIB), method="GET", times=2)
    result = run("download", url, tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": OLD}
    assert [record.range for record in own_web.log.records(method="GET")] == [None] * 3


@dataclass(frozen=True, slots=True)
class Node(Fault):
    """A node with a validator of its own."""

    name: str
    value: str
    insists: bool = False

    def prepare(self, exchange: Exchange) -> None:
        if self.insists and exchange.conditional:
            exchange.replace(412, {}, b"")
        else:
            exchange.ignore_conditions()
        exchange.headers[self.name] = self.value


NODES = {
    "other entity tags": ({}, Node("ETag", '"b2"')),
    "other dates": ({"ETag": None, "Last-Modified": THEN}, Node("Last-Modified", LATER)),
    "other entity tags, and insist on them": ({}, Node("ETag", '"b2"', insists=True)),
}


@pytest.mark.parametrize("digest", [True, False], ids=["digest known", ""])
@pytest.mark.parametrize("sentence", NODES)
def test_a_file_comes_from_nodes_with(own_web: BrokenWeb, tmp_path: Path, sentence: str, *, digest: bool) -> None:
    headers, node = NODES[sentence]
    url = own_web.put("model.bin", OLD, headers=headers)
    own_web.faults.add(EveryNth(node, 2), times=FOREVER)
    result = run("download", f"{url}#sha256={hashlib.sha256(OLD).hexdigest()}" if digest else url, tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": OLD}


def test_a_folder_comes_from_nodes_with_other_entity_tags(own_web: BrokenWeb, tmp_path: Path) -> None:
    files = {f"{number}.bin": OLD[number : number + 100_000] for number in range(12)}
    for path, content in files.items():
        own_web.put(f"m/{path}", content)
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in files.items())
    own_web.put("m/SHA256SUMS", sums.encode())
    own_web.faults.add(EveryNth(Node("ETag", '"b2"'), 2), path="/m/*.bin", times=FOREVER)
    result = run("download", own_web.url("m/"), tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == files


UNRELIABLE = {
    "one wrong range in four": EveryNth(ShiftRange(by=5), 4),
    "every other node ignoring ranges": EveryNth(IgnoreRange(), 2),
    "every third node sending other ranges": EveryNth(ShiftRange(by=-4096), 3),
    "answers of at most a megabyte": ShortenRange(to=MIB - 1),
    "some answers of a few thousand bytes": EveryNth(ShortenRange(to=5000), 3),
}


@pytest.mark.parametrize("sequence", ["", "HTTP"])
@pytest.mark.parametrize("digest", [True, False], ids=["digest known", ""])
@pytest.mark.parametrize("sentence", UNRELIABLE)
def test_a_file_comes_whole_despite(
    own_web: BrokenWeb, tmp_path: Path, sentence: str, sequence: str, *, digest: bool
) -> None:
    url = own_web.put("model.bin", OLD)
    if sequence:
        own_web.faults.add(ReplacedThere(5 * MIB), method="GET", times=2)  # else there would be nothing but one answer
    own_web.faults.add(UNRELIABLE[sentence], method="GET", times=FOREVER)
    extra = {"AIM_DOWNLOADER_PROTOCOL": sequence} if sequence else {}
    result = run(
        "download", f"{url}#sha256={hashlib.sha256(OLD).hexdigest()}" if digest else url, tmp_path, extra=extra
    )
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": OLD}


@dataclass(frozen=True, slots=True)
class WrongRanges(Fault):
    """Each range is another one; the whole file is right."""

    by: int

    def prepare(self, exchange: Exchange) -> None:
        if "Content-Range" in exchange.headers:
            exchange.shift_range(self.by)


@pytest.mark.parametrize("fault", [IgnoreRange(), WrongRanges(by=5)], ids=["ignored", "wrong"])
def test_a_file_of_which_parts_are_there_comes_in_one_stream_from_its_first_byte_where_ranges_are(
    own_web: BrokenWeb, tmp_path: Path, fault: Fault
) -> None:
    url = own_web.put("model.bin", OLD)
    process = start("download", url, tmp_path, extra={"AIM_BANDWIDTH": "20M"})
    assert eventually(lambda: own_web.log.sent() > 8 * MIB)
    os.killpg(process.pid, signal.SIGTERM)  # which keeps all that has come
    assert finish(process).status == 143
    own_web.faults.add(fault, method="GET", times=FOREVER)
    result = run("download", url, tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": OLD}
