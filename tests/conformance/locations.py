"""The same artifact in every kind of place that a source can read: what the conformance suite runs on."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile
from downloader.cancellation import Cancellation
from downloader.config.s3 import S3Settings
from downloader.engine import Place as EnginePlace
from downloader.errors import SourceChanged, SourceNotFound
from downloader.integrity import MARKER
from downloader.progress import ProgressMeter
from downloader.sources import located
from downloader.sources.bandwidth import Bandwidth, LimitedSource
from downloader.sources.file import FileSource
from downloader.sources.http import HttpSource
from downloader.sources.huggingface import HubSource
from downloader.sources.pause import SharedPause
from downloader.sources.retry import RetryPolicy
from downloader.sources.retrying import RetryingSource
from downloader.sources.s3 import S3Source
from tests.servers.blobs import Noise
from tests.servers.gate import Gate
from tests.servers.hub import Hub
from tests.servers.repository import Storage
from tests.servers.s3 import new_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from downloader.artifact import Span
    from downloader.errors import DownloadError
    from downloader.network import HttpClient
    from downloader.sources import Body, Source
    from tests.servers.repository import StoredFile
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

LARGE = "weights/model 1%2F+ä.bin"
EMPTY = "empty.txt"
FILES = {
    ".hidden/notes": b"hidden files are files",
    "config.json": b"{}",
    EMPTY: b"",
    LARGE: Noise((4 << 20) + 321, seed=31).bytes(),
}
TIMEOUT = 0.5
PLENTY = 1 << 40
"""Bytes per second: a limit that is never reached."""


@dataclass(frozen=True)
class Servers:
    """What all places stand on."""

    s3: S3Server
    rclone: S3Server
    web: WebServer
    web_root: Path


@dataclass
class Place:
    """An artifact somewhere, with a gate in front of every origin."""

    source_of: Callable[[HttpClient, str], Source]
    """Makes a source over this client, for the file with this path or for the whole artifact."""
    gates: list[Gate]
    put: Callable[[str, bytes | None], object]
    """Replaces a file behind the source's back, or with None takes it away."""
    publish: Callable[[Mapping[str, bytes | None]], object]
    """Changes the artifact as its owner does: with everything else that says what it consists of."""
    single: bool = False
    """Each file is an artifact of its own."""
    digests: bool = True
    """The place publishes a digest of every file."""
    pinned_forever: bool = False
    """What was listed stays readable, whatever comes later."""
    unlisted: bool = False
    """It is asked for files by their paths, without a listing and so without validators: digests decide."""
    keeps_connections: bool = True
    missing: type[DownloadError] = SourceNotFound
    """What reading a file raises that was listed and is not there."""
    wrapped: Callable[[Source, Cancellation], Source] = field(default=lambda source, _: source)
    cancellation: Cancellation = field(default_factory=Cancellation)

    @property
    def connections(self) -> int:
        return sum(gate.connections for gate in self.gates)

    def hold(self) -> None:
        for gate in self.gates:
            gate.hold()

    def cut(self) -> None:
        for gate in self.gates:
            gate.cut()

    def close(self) -> None:
        for gate in self.gates:
            gate.close()

    def source(self, web: HttpClient, path: str = LARGE) -> Source:
        """Return the source that has this file."""
        return self.wrapped(self.source_of(web, path), self.cancellation)

    def file(self, web: HttpClient, path: str = LARGE) -> tuple[Source, RemoteFile]:
        """Return a file, and the source to read it from."""
        source = self.source(web, path)
        name = path.rpartition("/")[2] if self.single else path
        return source, next(file for file in source.manifest().files if file.path == name)


@contextmanager
def gated(*ports: int) -> Iterator[list[Gate]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Gate(port)) for port in ports]


class GatedHub(Hub):
    """A Hub whose redirects lead through a gate."""

    gate: Gate

    def cdn_url(self, file: StoredFile) -> str:
        return super().cdn_url(file).replace(f":{self.cdn.server.port}/", f":{self.gate.port}/", 1)


@contextmanager
def hub(_: Servers, *, storage: Storage) -> Iterator[Place]:
    with GatedHub() as server, gated(server.server.port, server.cdn.server.port) as gates:
        server.gate = gates[1]
        server.resolve_cache = False
        repository = server.create("org/model")
        repository.commit(FILES, storage=storage)
        endpoint = f"http://127.0.0.1:{gates[0].port}"

        def put(path: str, content: bytes | None) -> None:
            if content is None:
                repository.commits.clear()  # a commit never loses a single file
            else:
                repository.commit({path: content}, storage=storage)

        yield Place(
            lambda web, _: HubSource("hf://org/model", web, endpoint=endpoint, token=""),
            gates,
            put,
            lambda changes: repository.commit(changes, storage=storage),
            pinned_forever=True,
            missing=SourceChanged,
        )


@contextmanager
def bucket(servers: Servers, *, name: str) -> Iterator[Place]:
    server: S3Server = getattr(servers, name)
    client = server.client()
    bucket_name = new_bucket(client)

    def put(path: str, content: bytes | None) -> None:
        if content is None:
            client.delete_object(Bucket=bucket_name, Key=f"m/{path}")
        else:
            client.put_object(Bucket=bucket_name, Key=f"m/{path}", Body=content)

    def publish(changes: Mapping[str, bytes | None]) -> None:
        for path, content in changes.items():
            put(path, content)

    publish(FILES)
    with gated(urlsplit(server.endpoint).port or 0) as gates:
        environ = {**server.environment(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{gates[0].port}"}
        settings = S3Settings.from_environment(environ, [])
        # moto says "Connection: close" to every answer
        yield Place(
            lambda web, _: S3Source(f"s3://{bucket_name}/m", settings, web),
            gates,
            put,
            publish,
            keeps_connections=name != "s3",
        )


@contextmanager
def website(servers: Servers, *, secure: bool, folder: bool) -> Iterator[Place]:
    root = servers.web_root / f"place-{uuid.uuid4().hex}"
    versions = count(1)

    def put(path: str, content: bytes | None) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            (root / path).unlink()
        else:
            (root / f"{path}.new").write_bytes(content)
            moment = next(versions)
            os.utime(root / f"{path}.new", (moment, moment))  # nginx makes its validators of size and whole seconds
            (root / f"{path}.new").rename(root / path)

    def publish(changes: Mapping[str, bytes | None]) -> None:
        for path, content in changes.items():
            put(path, content)
        paths = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        lines = (f"{hashlib.sha256((root / path).read_bytes()).hexdigest()}  {path}\n" for path in paths)
        put("SHA256SUMS", "".join(line for line in lines if "SHA256SUMS" not in line).encode())

    publish(FILES)
    url = servers.web.secure_url if secure else servers.web.url
    with gated(urlsplit(url).port or 0) as gates:
        base = f"{urlsplit(url).scheme}://127.0.0.1:{gates[0].port}/{root.name}/"
        yield Place(
            lambda web, path: HttpSource(base + ("" if folder else quote(path)), web, {}),
            gates,
            put,
            publish,
            single=not folder,
            digests=folder,
        )
    shutil.rmtree(root)


@contextmanager
def folder(servers: Servers, *, listed: bool, single: bool = False) -> Iterator[Place]:
    root = servers.web_root / f"folder-{uuid.uuid4().hex}"

    def put(path: str, content: bytes | None) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            (root / path).unlink()
        else:
            (root / f"{path}.new").write_bytes(content)
            (root / f"{path}.new").rename(root / path)

    def publish(changes: Mapping[str, bytes | None]) -> None:
        for path, content in changes.items():
            put(path, content)
        if listed:
            paths = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
            lines = (f"{hashlib.sha256((root / path).read_bytes()).hexdigest()}  {path}\n" for path in paths)
            put(MARKER, "".join(line for line in lines if MARKER not in line).encode())

    publish(FILES)
    base = f"file://{quote(str(root))}"
    yield Place(
        lambda _, path: FileSource(f"{base}/{quote(path)}" if single else base),
        [],
        put,
        publish,
        single=single,
        digests=listed,
    )
    shutil.rmtree(root)


def retried(source: Source, cancellation: Cancellation) -> Source:
    meter = ProgressMeter()
    return RetryingSource(source, RetryPolicy(TIMEOUT, meter, cancellation, SharedPause(meter.clock)))


def limited(source: Source, cancellation: Cancellation) -> Source:
    return LimitedSource(source, Bandwidth(PLENTY, ProgressMeter()), cancellation)


class Mirrored:
    """A source as a run uses it for a mirror: what the origin knows of the files, with the mirror's ways to them."""

    def __init__(self, source: Source, contents: Mapping[str, bytes]) -> None:
        """`contents` is path → what the origin has."""
        self._source = source
        self._contents = contents

    def manifest(self) -> Manifest:
        contents = sorted(self._contents.items())
        digests = {path: hashlib.sha256(content).hexdigest() for path, content in contents}
        listed = tuple(
            RemoteFile(path, len(content), (Digest(Algorithm.SHA256, digests[path]),), locator=f"origin:{path}")
            for path, content in contents
        )
        manifest = Manifest("origin", listed, version=hashlib.sha256(repr(digests).encode()).hexdigest())
        mirror = EnginePlace("mirror", lambda origin, _: located(self._source, origin))
        # A run asks for the largest first, but no rule for sources says so.
        found = sorted(mirror.files(manifest, listed, Cancellation()), key=lambda file: file.path)
        return replace(manifest, files=tuple(found))

    def version(self) -> str | None:
        return self.manifest().version

    def open(self, file: RemoteFile, span: Span) -> Body:
        return self._source.open(file, span)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        self._source.prefetch(pieces)

    def close(self) -> None:
        self._source.close()


@contextmanager
def mirrored(
    place: Callable[[Servers], AbstractContextManager[Place]], servers: Servers, *, unlisted: bool = False
) -> Iterator[Place]:
    """A place as a mirror of an origin with the same files."""
    with place(servers) as inner:
        contents: dict[str, bytes] = dict(FILES)
        publish_there = inner.publish

        def publish(changes: Mapping[str, bytes | None]) -> None:
            publish_there(changes)
            contents.update({path: content for path, content in changes.items() if content is not None})
            for path in [path for path, content in changes.items() if content is None]:
                del contents[path]

        inner.publish = publish
        inner.wrapped = lambda source, _: Mirrored(source, contents)
        inner.digests, inner.unlisted, inner.missing = True, unlisted, SourceNotFound
        yield inner


@contextmanager
def around(
    wrapper: Callable[[Source, Cancellation], Source],
    place: Callable[[Servers], AbstractContextManager[Place]],
    servers: Servers,
) -> Iterator[Place]:
    with place(servers) as inner:
        inner.wrapped = wrapper
        yield inner


_REDIRECTED = partial(hub, storage=Storage.LFS)
_SECURE_FOLDER = partial(website, secure=True, folder=True)

REMOTE: dict[str, Callable[[Servers], AbstractContextManager[Place]]] = {
    "the Hub itself": partial(hub, storage=Storage.GIT),
    "the Hub's content network": _REDIRECTED,
    "S3 (moto)": partial(bucket, name="s3"),
    "S3 (rclone)": partial(bucket, name="rclone"),
    "a web server": partial(website, secure=False, folder=False),
    "a web server over TLS": partial(website, secure=True, folder=False),
    "a web folder": partial(website, secure=False, folder=True),
    "the Hub, retried": partial(around, retried, _REDIRECTED),
    "a web folder over TLS, limited": partial(around, limited, _SECURE_FOLDER),
    "a mirror: the Hub": partial(mirrored, _REDIRECTED),
    "a mirror: S3 (moto)": partial(mirrored, partial(bucket, name="s3")),
    "a mirror: a web folder": partial(mirrored, partial(website, secure=False, folder=True), unlisted=True),
}
PLACES = REMOTE | {
    "a folder of this machine": partial(folder, listed=False),
    "a folder of this machine, retried": partial(around, retried, partial(folder, listed=False)),
    "a folder of this machine with a list": partial(folder, listed=True),
    "a file of this machine": partial(folder, listed=False, single=True),
    "a mirror: a folder of this machine": partial(mirrored, partial(folder, listed=False)),
    "a mirror: a folder of this machine with a list": partial(mirrored, partial(folder, listed=True)),
}
"""All of them; those that are not remote have no server that could be silent or gone."""
