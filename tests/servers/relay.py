"""A server in front of another one: passes requests on as they are, and adds faults and a log of its own.

    with Relay(s3.endpoint) as relay:
        relay.faults.add(Stall(after=1 << 20), route="object")
        ...  # AWS_ENDPOINT_URL=relay.endpoint

Only for requests without a body. Routes are the first that fits: `listing` (a query with `list-type`), else `object`.
"""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.servers.blobs import Blob
from tests.servers.closable import Closable
from tests.servers.faults import Faults
from tests.servers.messages import Log, Reply
from tests.servers.origin import Server
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from tests.servers.messages import Request

_OURS = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})
"""Headers that belong to one connection: our own server creates its own."""


class Relay(Closable):
    """Stands before the server at `upstream`, a plain HTTP origin."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self.faults = Faults()
        self.log = Log()
        self.server = Server(self._answer, self.faults, self.log)

    @property
    def endpoint(self) -> str:
        """Where clients must go."""
        return self.server.origin

    def close(self) -> None:
        """Stop; the server behind goes on."""
        self.server.close()

    def _answer(self, request: Request) -> Reply:
        with closing(HTTPConnection(self._upstream, timeout=AT_LAST)) as connection:
            connection.request(request.method, request.target, headers=dict(request.headers))
            answer = connection.getresponse()
            content: bytes | Blob = answer.read()
        if request.method == "HEAD":
            # Its length is told and nothing is sent.
            content = Blob(-1, 0, int(answer.getheader("Content-Length", "0")))
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OURS}
        if "Etag" in headers:
            headers["ETag"] = headers.pop("Etag")  # as our own server looks for it
        route = "listing" if "list-type" in request.query else "object"
        return Reply(route, answer.status, headers, content, divisible=False)
