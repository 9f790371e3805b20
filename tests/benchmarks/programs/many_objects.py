"""A bucket of any number of small objects, made as they are asked for. Argument: COUNT. Prints its port.

It speaks as much of S3 as a download needs, looks at no signature, and takes about 20 µs for an object. `GET /told`
says how many objects and pages it has sent, and how many seconds passed from the first page to the first object.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from urllib.parse import parse_qs

BUCKET = "/many"
_FOLDER, _PAGE = 1000, 1000


def key_of(number: int) -> str:
    return f"data/shard-{number // _FOLDER:05}/part-{number:08}.bin"


def content_of(key: str) -> bytes:
    return f"{key}\n".encode()


class Objects:
    """What is served, and what has been."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pages = self._objects = 0
        self._first_page = self._first_object = 0.0

    def answer(self, method: str, target: str) -> bytes:
        path, _, query = target.partition("?")
        if path == "/told":
            waited = self._first_object - self._first_page
            return _reply(json.dumps({"objects": self._objects, "pages": self._pages, "waited": waited}).encode())
        key = path.removeprefix(f"{BUCKET}/")
        if path.rstrip("/") == BUCKET:
            return _reply(self._page(query))
        number = key.rpartition("-")[2].removesuffix(".bin")
        if not number.isdecimal() or key_of(int(number)) != key or int(number) >= self._count:
            return _reply(b"<Error><Code>NoSuchKey</Code></Error>", status="404 Not Found")
        content = content_of(key)
        if method == "HEAD":
            return _reply(content, _tag(content)).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        self._first_object = self._first_object or time.monotonic()
        self._objects += 1
        span = f"Content-Range: bytes 0-{len(content) - 1}/{len(content)}\r\n"  # every request wants all of it
        return _reply(content, _tag(content) + span, status="206 Partial Content")

    def _page(self, query: str) -> bytes:
        start = int(parse_qs(query).get("continuation-token", ["0"])[0])
        stop = min(start + _PAGE, self._count)
        entries = []
        for number in range(start, stop):
            key = key_of(number)
            content = content_of(key)
            tag = hashlib.md5(content).hexdigest()  # noqa: S324 - what an ETag is
            entries.append(
                f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{tag}&quot;</ETag><Size>{len(content)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
        more = stop < self._count
        following = f"<NextContinuationToken>{stop}</NextContinuationToken>" if more else ""
        self._first_page = self._first_page or time.monotonic()
        self._pages += 1
        end = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<ListBucketResult>{end}{following}{''.join(entries)}</ListBucketResult>".encode()


def _tag(content: bytes) -> str:
    return f'ETag: "{hashlib.md5(content).hexdigest()}"\r\n'  # noqa: S324 - what an ETag is


def _reply(body: bytes, fields: str = "", *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


class Connection(asyncio.Protocol):
    """Answers pipelined requests without bodies."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        answers = []
        for head in heads:
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            answers.append(self._objects.answer(method, target))
        assert self._transport is not None
        self._transport.write(b"".join(answers))


async def main(count: str) -> None:
    objects = Objects(int(count))
    server = await asyncio.get_running_loop().create_server(lambda: Connection(objects), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
