"""A repository manager or a mirror in front of the Hub double: its own address and login, fewer routes, other words.

with Manager(hub) as manager:
manager.refuse("tree", 404)
...  # HF_ENDPOINT=manager.endpoint
assert [record.route for record in manager.log.records()] == ["api", "tree", "api"]
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.servers.closable import Closable
from tests.servers.faults import Faults
from tests.servers.hub_routes import HubRoutes
from tests.servers.messages import Log, Reply
from tests.servers.origin import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.hub import Hub
    from tests.servers.messages import Request

PREFIX = "/artifactory/api/huggingfaceml/hf"


class Manager(Closable):
    """Passes on what the Hub answers, changed as its switches say. Small files are not redirected."""

    def __init__(self, hub: Hub, *, prefix: str = PREFIX, login: str = "") -> None:
        """With `login`, the value of an Authorization header, it serves no other client."""
        hub.resolve_cache = False
        self._hub = hub
        self._routes = HubRoutes(hub)
        self._prefix = prefix
        self._login = login
        self._changes: list[Callable[[Request, Reply], Reply]] = []
        self.faults, self.log = Faults(), Log()
        self.server = Server(self._answer, self.faults, self.log)

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT must be, without a login."""
        return self.server.origin + self._prefix

    def change(self, change: Callable[[Request, Reply], Reply]) -> None:
        """Change what is answered from now on."""
        self._changes.append(change)

    def refuse(self, route: str, status: int, *, parameter: str = "", method: str = "") -> None:
        """Know nothing of a route, or only nothing of one of its parameters or methods."""

        def refused(request: Request, reply: Reply) -> Reply:
            if reply.route != route or (parameter and parameter not in request.query):
                return reply
            return Reply(route, status, {}, b"not here") if method in ("", request.method) else reply

        self.change(refused)

    def edit(self, route: str, edit: Callable[[Any], object]) -> None:
        """Change the JSON of a route in place."""

        def edited(_: Request, reply: Reply) -> Reply:
            if reply.route != route or reply.status != 200:
                return reply
            value = json.loads(bytes(reply.content)) if isinstance(reply.content, bytes) else None
            edit(value)
            return replace(reply, content=json.dumps(value).encode())

        self.change(edited)

    def close(self) -> None:
        """Stop."""
        self.server.close()

    def _answer(self, request: Request) -> Reply:
        if self._login and request.headers.get("authorization") != self._login:
            return Reply("login", 401, {"WWW-Authenticate": 'Basic realm="manager"'})
        if not request.target.startswith(self._prefix):
            return Reply("outside", 404)
        # As the Hub sees it: with its own name, and without the login of the manager.
        headers = {**request.headers, "host": self._hub.endpoint.partition("://")[2]}
        if self._login:
            del headers["authorization"]
        inner = replace(request, target=request.target.removeprefix(self._prefix), headers=headers)
        reply = self._routes(inner)
        for change in self._changes:
            reply = change(inner, reply)
        return reply
