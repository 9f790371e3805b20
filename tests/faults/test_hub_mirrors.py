"""Mirrors of the Hub and repository managers as they are in the field: right bytes in the end, or one clear line."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.command import PEOPLE, model, run
from tests.servers.blobs import Noise
from tests.servers.broken import NoLength
from tests.servers.faults import FOREVER, Fault, Flip, IgnoreRange, ShortenRange, too_many_requests, web_page
from tests.servers.hub import Hub
from tests.servers.hub_routes import HubRoutes
from tests.servers.manager import Manager
from tests.servers.messages import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.command import Result
    from tests.servers.messages import Request

FILES = {
    "config.json": b"{}",
    "empty.txt": b"",
    "sub/a b.txt": b"text",
    "sub/model.safetensors": Noise((9 << 20) + 321, seed=61).bytes(),
}
LARGE = "sub/model.safetensors"
TOKEN = "hf_of_the_hub_alone"
SOON = {"STALL_TIMEOUT": "4"}
BODIES = ("resolve", "cdn", "xorb")
"""What has bytes of files."""


@dataclass
class Field:
    """A Hub, and a manager in front of it that is what the client sees."""

    hub: Hub
    manager: Manager
    third: Manager
    """Another host with the same, for redirects."""

    def edit_replies(self, edit: Callable[[Request, Reply], Reply | None]) -> None:
        """Change replies, or with None leave one as it is."""
        self.manager.change(lambda request, reply: edit(request, reply) or reply)

    def on_bodies(self, fault: Fault, **more: Any) -> None:
        """Let a fault strike wherever bytes of files come from."""
        for route in BODIES:
            for faults in (self.hub.faults, self.manager.faults):
                faults.add(fault, route=route, times=FOREVER, **more)


def without_headers(*names: str) -> Callable[[Field], object]:
    """Drop fields of every reply whose names begin like that."""

    def drop(field: Field) -> None:
        def edit(_: Request, reply: Reply) -> Reply:
            kept = {name: value for name, value in reply.headers.items() if not name.startswith(names)}
            return replace(reply, headers=kept)

        field.edit_replies(edit)

    return drop


def moved(field: Field) -> None:
    """Redirect everything with 308 to another path of the same host."""
    routes, prefix = HubRoutes(field.hub), field.manager.endpoint.removeprefix(field.manager.server.origin)

    def edit(request: Request, reply: Reply) -> Reply:
        if request.target.startswith("/new/"):
            return routes(replace(request, target=request.target.removeprefix("/new")))
        return Reply(reply.route, 308, {"Location": f"{prefix}/new{request.target}"})

    field.edit_replies(edit)


def moved_to_a_third_host(field: Field) -> None:
    """Redirect everything with 308 to another host."""
    third = field.third.endpoint
    field.edit_replies(lambda request, reply: Reply(reply.route, 308, {"Location": f"{third}{request.target}"}))


def files_at_a_third_host(field: Field) -> None:
    """Redirect every file to another host, with no word about it."""
    third = field.third.endpoint
    field.edit_replies(
        lambda request, reply: (
            Reply("resolve", 302, {"Location": f"{third}{request.target}"}) if reply.route == "resolve" else None
        )
    )


def without_xet(field: Field) -> None:
    """Know nothing of Xet."""
    without_headers("X-Xet", "Link")(field)
    field.manager.edit("tree", lambda entries: [entry.pop("xetHash", None) for entry in entries])
    field.manager.refuse("token", 404)


def weak_tags(field: Field) -> None:
    """Serve weak entity tags."""

    def edit(_: Request, reply: Reply) -> Reply:
        tags = {name: f"W/{value}" for name, value in reply.headers.items() if name.lower().endswith("etag")}
        return replace(reply, headers={**reply.headers, **tags})

    field.edit_replies(edit)


def names_alone(field: Field) -> None:
    """List nothing but the names of the files."""
    field.manager.refuse("tree", 404)
    field.manager.edit(
        "api", lambda info: info.update(siblings=[{"rfilename": one["rfilename"]} for one in info.get("siblings", [])])
    )


def together(*plays: Callable[[Field], object]) -> Callable[[Field], object]:
    """Do several of these."""

    def play(field: Field) -> None:
        for each in plays:
            each(field)

    return play


def shorter(field: Field) -> None:
    """List a file fewer than there are."""
    field.manager.edit("tree", lambda entries: entries.pop())


def refusing(route: str, status: int, method: str = "", more: Callable[[Field], object] | None = None) -> Any:
    """Refuse a route, or one method of it."""

    def refuse(field: Field) -> None:
        if more is not None:
            more(field)
        field.manager.refuse(route, status, method=method)

    return refuse


def answering(fault: Fault, *routes: str, **more: Any) -> Callable[[Field], object]:
    """Let a fault strike on some routes of the manager."""

    def add(field: Field) -> None:
        for route in routes:
            field.manager.faults.add(fault, route=route, times=FOREVER, **more)

    return add


def large_files(status: int) -> Callable[[Field], object]:
    """Answer with a status where a large file is asked for, as a cache does that has none of them."""

    def refuse(field: Field) -> None:
        field.edit_replies(
            lambda request, reply: (
                Reply("resolve", status, {}, b"not cached")
                if reply.route == "resolve" and request.path.endswith(LARGE)
                else None
            )
        )

    return refuse


def in_a_circle(field: Field) -> None:
    """Redirect each file to itself."""
    prefix = field.manager.endpoint.removeprefix(field.manager.server.origin)
    field.edit_replies(
        lambda request, reply: (
            Reply("resolve", 302, {"Location": f"{prefix}{request.target}"}) if reply.route == "resolve" else None
        )
    )


@dataclass(frozen=True)
class Row:
    """What a mirror does, and how a run ends whose only place it is."""

    play: Callable[[Field], object]
    status: int = 0
    words: str = ""
    """Of the last line, where the run fails."""
    files: frozenset[str] = field(default=frozenset(FILES))
    protocols: str = "HF_TRANSFER,HTTP"


ROWS = {
    "is as it should be": Row(lambda _: None, protocols="XET,HTTP"),
    "answers everything with 308": Row(moved),
    "answers everything with 308 to another host": Row(moved_to_a_third_host),
    "redirects files to another host": Row(files_at_a_third_host),
    "drops X-Repo-Commit": Row(without_headers("X-Repo-Commit")),
    "drops X-Linked-Etag and X-Linked-Size": Row(without_headers("X-Linked")),
    "drops entity tags": Row(without_headers("ETag")),
    "drops all of the Hub's fields": Row(without_headers("X-", "Link", "ETag", "Accept-Ranges"), protocols="XET,HTTP"),
    "knows no Xet": Row(without_xet, protocols="XET,HTTP"),
    "has Xet hashes and no tokens": Row(refusing("token", 403), protocols="XET,HTTP"),
    "serves weak entity tags": Row(weak_tags),
    "serves weak entity tags and lists names alone": Row(together(weak_tags, names_alone)),
    "lists names alone, without the Hub's fields": Row(together(without_headers("X-Linked", "X-Repo"), names_alone)),
    "answers HEAD with 401, and lists names alone": Row(refusing("resolve", 401, "HEAD", names_alone)),
    "answers HEAD with 403, and lists names alone": Row(refusing("resolve", 403, "HEAD", names_alone)),
    "answers HEAD with 405, and lists names alone": Row(refusing("resolve", 405, "HEAD", names_alone)),
    "sends no Content-Length, but chunks": Row(answering(NoLength(), "tree", "api", "resolve")),
    "sends files to the end of the connection": Row(answering(NoLength(chunked=False), "resolve")),
    "ignores ranges": Row(lambda field: field.on_bodies(IgnoreRange())),
    "sends a mebibyte of each range": Row(lambda field: field.on_bodies(ShortenRange(1 << 20))),
    "lists a file fewer": Row(shorter, files=frozenset(FILES) - {LARGE}),
    "sends one wrong byte": Row(lambda field: field.on_bodies(Flip(), offset=5 << 20), 65, "the bytes have sha256"),
    "has no large files": Row(large_files(404), 69, "refused sub/model.safetensors (HTTP 404)"),
    "is closed for large files": Row(large_files(403), 69, "refused sub/model.safetensors (HTTP 403)"),
    "fails for large files": Row(large_files(500), 69, "HTTP 500"),
    "sends a web page for each file": Row(answering(web_page(), "resolve"), 69, "a web page in the place of the file"),
    "sends a web page for everything": Row(answering(web_page(), "*"), 69, "with a web page"),
    "asks for an hour's pause": Row(answering(too_many_requests("3600"), "resolve"), 69, "3600"),
    "redirects in a circle": Row(in_a_circle, 69, "redirects more than"),
    "knows no repository": Row(together(refusing("api", 404), refusing("tree", 404)), 69, "HTTP 404"),
}


@pytest.fixture
def field_of(hub: Hub) -> Iterator[Field]:
    hub.tokens[TOKEN] = "carol"
    hub.create("org/model").commit(FILES)
    with Manager(hub) as manager, Manager(hub) as third:
        yield Field(hub, manager, third)


def download(tmp_path: Path, *arguments: str, **extra: str) -> Result:
    settings = {"HF_HOME": str(tmp_path / "home"), **PEOPLE, **SOON, **extra}
    return run("download", "hf://org/model", tmp_path / "target", *arguments, extra=settings)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_an_origin_that(field_of: Field, tmp_path: Path, row: Row) -> None:
    row.play(field_of)
    result = download(tmp_path, HF_ENDPOINT=field_of.manager.endpoint, AIM_DOWNLOADER_PROTOCOL=row.protocols)
    assert result.status == row.status, result.stderr
    assert row.words in result.last_line
    found = model(tmp_path / "target") if (tmp_path / "target").exists() else {}
    if row.status == 0:
        assert found == {path: FILES[path] for path in row.files}
    else:
        assert LARGE not in found


@pytest.mark.parametrize("redirect", [moved, moved_to_a_third_host, files_at_a_third_host])
def test_a_redirect_takes_the_token_to_no_other_host(
    field_of: Field, tmp_path: Path, redirect: Callable[[Field], object]
) -> None:
    redirect(field_of)
    result = download(tmp_path, HF_ENDPOINT=field_of.manager.endpoint, HF_TOKEN=TOKEN)
    assert result.status == 0, result.stderr
    assert model(tmp_path / "target") == FILES
    assert {record.request.bearer for record in field_of.manager.log.records()} == {TOKEN}
    assert {record.request.bearer for record in field_of.third.log.records()} <= {None}
    assert bool(field_of.third.log.records()) is (redirect is not moved)
    assert field_of.hub.leaks == []


@pytest.fixture
def origin() -> Iterator[Hub]:
    """The Hub that lists the artifact, while the other one is behind a mirror."""
    with Hub() as server:
        server.create("org/model").commit(FILES)
        yield server


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_mirror_that(field_of: Field, origin: Hub, tmp_path: Path, row: Row) -> None:
    row.play(field_of)
    mirror = f"hf+{field_of.manager.endpoint}//org/model"
    result = download(
        tmp_path,
        "--mirror",
        mirror,
        "--mirror-first",
        HF_ENDPOINT=origin.endpoint,
        HF_TOKEN="",
        AIM_DOWNLOADER_PROTOCOL=row.protocols,
    )
    assert result.status == 0, result.stderr
    assert model(tmp_path / "target") == FILES
    came_from_origin = sum(origin.log.sent(route) for route in BODIES)
    if row.status == 0 and row.files == frozenset(FILES):
        assert came_from_origin == 0
    elif row.status:
        assert came_from_origin > 0
