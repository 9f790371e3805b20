"""Answers without measure: more bytes, pages, files or headers than any client can want."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.closable import Closable
from tests.servers.faults import Exchange, Fault
from tests.servers.messages import Reply, Request
from tests.servers.origin import Server

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = 1 << 20
PAGE = 1000
"""Files that the Hub lists at once."""
COMMIT = "0123456789abcdef0123456789abcdef01234567"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Flood(Fault):
    """So many bytes of one piece repeated, as Content-Length says."""

    piece: bytes
    size: int

    def play(self, exchange: Exchange, after: int) -> None:
        del after
        exchange.declared = self.size
        exchange.head()
        step = self.piece * max(1, STEP // len(self.piece))
        for sent in range(0, self.size, len(step)):
            exchange.send(step[: self.size - sent])


class VastHub(Closable):
    """A Hub that has one repository, `org/model`, whose listing is what it is told: files, or pages, or an answer."""

    def __init__(self, tree: Callable[[Request], Reply]) -> None:
        self._tree = tree
        self.server = Server(self._answer)

    @property
    def environment(self) -> dict[str, str]:
        """What a run must be told to use it."""
        return {"HF_ENDPOINT": self.server.origin}

    def _answer(self, request: Request) -> Reply:
        if "/tree/" in request.path:
            return self._tree(request)
        return Reply("api", 200, dict(JSON), json.dumps({"id": "org/model", "sha": COMMIT}).encode())

    def close(self) -> None:
        self.server.close()


def tree_of(count: int) -> Callable[[Request], Reply]:
    """Return how a repository of so many files, as the Hub describes them, is listed."""

    def answer(request: Request) -> Reply:
        start = int(request.query.get("cursor", "0"))
        stop = min(start + PAGE, count)
        reply = Reply("tree", 200, dict(JSON), json.dumps([_entry(number) for number in range(start, stop)]).encode())
        return _with_next(reply, request, stop) if stop < count else reply

    return answer


def pages_without_end(request: Request) -> Reply:
    """List nothing, and say that there is more, each time somewhere else."""
    return _with_next(Reply("tree", 200, dict(JSON), b"[]"), request, int(request.query.get("cursor", "0")) + 1)


def _with_next(reply: Reply, request: Request, cursor: int) -> Reply:
    url = f"{request.origin}{request.target.partition('?')[0]}?recursive=true&cursor={cursor}"
    reply.headers["Link"] = f'<{url}>; rel="next"'
    return reply


def _entry(number: int) -> dict[str, object]:
    return {
        "type": "file",
        "oid": f"{number:040x}",
        "size": 7,
        "path": f"shard-{number % 100:03}/file-{number:07}.safetensors",
        "lfs": {"oid": f"{number:064x}", "size": 7, "pointerSize": 120},
        "xetHash": f"{number:064x}",
    }


class EndlessHead(Closable):
    """Answers each request with `beginning` and then `piece` after `piece`, for as long as the client reads."""

    def __init__(self, beginning: bytes, piece: bytes) -> None:
        self._beginning = beginning
        self._step = piece * (STEP // len(piece))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(STEP)
            connection.sendall(self._beginning)
            while True:
                connection.sendall(self._step)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
