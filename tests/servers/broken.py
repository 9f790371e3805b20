"""A web server that serves files as it must, and can be told to get wrong whatever a web server can get wrong.

    with BrokenWeb() as web:
        web.put("model.bin", content)
        web.faults.add(ClaimTotal(by=1), method="GET")
        web.faults.add(Meanwhile(lambda: web.put("model.bin", other)), skip=1)

The faults of `tests.servers.faults` work too; these are the ones that concern ranges, versions, lengths and codings.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from awscrt import checksums

from tests.servers.blobs import Blob, Noise, Shelf
from tests.servers.closable import Closable
from tests.servers.faults import Answer, Exchange, Fault, Faults
from tests.servers.messages import Log, Reply, Request
from tests.servers.origin import Server

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

ROUTE = "file"
CHUNK = 1 << 16
TOTAL = re.compile(r"/(\d+)$")


@dataclass(frozen=True, slots=True)
class ClaimTotal(Fault):
    """Content-Range tells a total that is wrong by so many bytes."""

    spoils_body: ClassVar[bool] = True
    by: int

    def prepare(self, exchange: Exchange) -> None:
        claimed = exchange.headers.get("Content-Range", "")
        exchange.headers["Content-Range"] = TOTAL.sub(lambda total: f"/{int(total[1]) + self.by}", claimed)


@dataclass(frozen=True, slots=True)
class ShortPart(Fault):
    """So many bytes fewer than Content-Range says, and Content-Length admits it."""

    spoils_body: ClassVar[bool] = True
    by: int

    def play(self, exchange: Exchange, after: int) -> None:
        del after
        exchange.declared = exchange.length - self.by
        exchange.head()
        exchange.body(until=exchange.length - self.by)


@dataclass(frozen=True, slots=True)
class LongPart(Fault):
    """So many bytes more than there should be, and Content-Length admits it, or is not there at all."""

    spoils_body: ClassVar[bool] = True
    by: int
    admitted: bool = True

    def play(self, exchange: Exchange, after: int) -> None:
        del after
        exchange.declared = exchange.length + self.by if self.admitted else None
        exchange.head()
        exchange.body()
        exchange.send(b"?" * self.by)


@dataclass(frozen=True, slots=True)
class IgnoreConditions(Fault):
    """If-Match is not looked at: what is there now is sent."""

    def prepare(self, exchange: Exchange) -> None:
        exchange.ignore_conditions()


@dataclass(frozen=True, slots=True)
class RefuseParts(Fault):
    """A firewall that takes Range for an attack, or a server that gives each client one connection."""

    def prepare(self, exchange: Exchange) -> None:
        if "Content-Range" in exchange.headers:
            exchange.replace(403, {}, b"no ranges here")


@dataclass(frozen=True, slots=True)
class Meanwhile(Fault):
    """Something else happens on the server before this reply, which was made already, is sent."""

    action: Callable[[], object]

    def prepare(self, exchange: Exchange) -> None:
        del exchange
        self.action()


@dataclass(frozen=True, slots=True)
class NoLength(Fault):
    """The right reply without Content-Length: chunked, or until the connection ends."""

    chunked: bool = True

    def play(self, exchange: Exchange, after: int) -> None:
        del after
        exchange.declared = None
        exchange.headers["Connection"] = "close"
        if not self.chunked:
            exchange.head()
            exchange.body()
            return
        exchange.headers["Transfer-Encoding"] = "chunked"
        exchange.head()
        while exchange.sent < exchange.length:
            until = min(exchange.sent + CHUNK, exchange.length)
            exchange.send(b"%x\r\n" % (until - exchange.sent))
            exchange.body(until=until)
            exchange.send(b"\r\n")
        exchange.send(b"0\r\n\r\n")


@dataclass(frozen=True, slots=True)
class ClaimLength(Fault):
    """Content-Length tells so many bytes, None for none at all: for HEAD, where no body shows the truth."""

    claimed: int | None

    def prepare(self, exchange: Exchange) -> None:
        exchange.declared = self.claimed


@dataclass(frozen=True, slots=True)
class Endless(Fault):
    """After the body come zeros, until the client has had enough."""

    spoils_body: ClassVar[bool] = True

    def play(self, exchange: Exchange, after: int) -> None:
        del after
        exchange.declared = None
        exchange.head()
        exchange.body()
        while True:
            exchange.send(bytes(CHUNK))


def moved(target: str, status: int = 302) -> Answer:
    """Make a redirect to any URL, sensible or not."""
    return Answer(status, {"Location": target})


def compressed(content: bytes) -> Answer:
    """Make a gzip-coded reply, which was not requested."""
    return Answer(200, {"Content-Encoding": "gzip"}, gzip.compress(content))


@dataclass(frozen=True)
class _File:
    blob: Blob
    headers: Mapping[str, str]
    authorization: str | None


class BrokenWeb(Closable):
    """A running server. `faults` tells it what to do wrong, `log` has what it was asked and what it sent."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.faults = Faults()
        self.log = Log()
        self._files: dict[str, _File] = {}
        self._shelf = Shelf()
        self.server = Server(self._answer, self.faults, self.log, tls=tls)

    def put(
        self,
        path: str,
        content: bytes | Noise,
        *,
        headers: Mapping[str, str | None] | None = None,
        authorization: str | None = None,
    ) -> str:
        """Serve `content` from now on and return its URL.

        `headers` change those of the reply, None leaves one out: `{"ETag": None}`. With `authorization` the file is
        only for requests that carry exactly this value.
        """
        blob = self._shelf.put(content)
        tag = hashlib.sha256(os.urandom(16)).hexdigest()[:32]
        usual: dict[str, str | None] = {"ETag": f'"{tag}"', "Accept-Ranges": "bytes"}
        wanted = {name: value for name, value in {**usual, **(headers or {})}.items() if value is not None}
        self._files[path] = _File(blob, wanted, authorization)
        return self.url(path)

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        return f"{self.server.origin}/{path}"

    def close(self) -> None:
        self.server.close()
        self._shelf.close()

    def _answer(self, request: Request) -> Reply:
        if request.method not in ("GET", "HEAD"):
            return Reply(ROUTE, 405, {"Allow": "GET, HEAD"})
        file = self._files.get(request.path.removeprefix("/"))
        if file is None:
            return Reply(ROUTE, 404, {}, b"there is no such file")
        if file.authorization is not None and request.headers.get("authorization") != file.authorization:
            return Reply(ROUTE, 401, {"WWW-Authenticate": 'Basic realm="models", Bearer'}, b"say who you are")
        return Reply(ROUTE, 200, dict(file.headers), file.blob)


def digest_headers(content: bytes) -> dict[str, str]:
    """Return every header by which servers tell what a file's bytes add up to, all of them right for `content`."""
    sha256, md5 = _base64(hashlib.sha256(content).digest()), _base64(hashlib.md5(content).digest())  # noqa: S324
    crc32, crc32c = _number(zlib.crc32(content), 4), _number(checksums.crc32c(content), 4)
    return {
        "Content-Digest": f"sha-256=:{sha256}:",
        "Repr-Digest": f"sha-256=:{sha256}:",
        "Digest": f"sha-256={sha256}",
        "Content-MD5": md5,
        "x-goog-hash": f"crc32c={crc32c},md5={md5}",
        "x-amz-checksum-sha256": sha256,
        "x-amz-checksum-sha512": _base64(hashlib.sha512(content).digest()),
        "x-amz-checksum-sha1": _base64(hashlib.sha1(content).digest()),  # noqa: S324
        "x-amz-checksum-crc32": crc32,
        "x-amz-checksum-crc32c": crc32c,
        "x-amz-checksum-crc64nvme": _number(checksums.crc64nvme(content), 8),
    }


def _number(value: int, length: int) -> str:
    return _base64(value.to_bytes(length, "big"))


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
