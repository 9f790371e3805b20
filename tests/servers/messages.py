"""What passes between a client and our own test servers, and the log of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.blobs import Blob


@dataclass(frozen=True)
class Request:
    """What a client asked for. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    scheme: str = "http"
    content: bytes = b""

    @cached_property
    def path(self) -> str:
        """The decoded path."""
        return unquote(urlsplit(self.target).path)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The path's parts, each decoded: an encoded slash stays inside its part."""
        return tuple(unquote(part) for part in urlsplit(self.target).path.split("/") if part)

    @cached_property
    def query(self) -> dict[str, str]:
        """The decoded query."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def origin(self) -> str:
        """The server as this client calls it."""
        return f"{self.scheme}://{self.headers['host']}"

    @property
    def bearer(self) -> str | None:
        """The bearer token, None if there is no Authorization at all."""
        authorization = self.headers.get("authorization")
        return None if authorization is None else authorization.removeprefix("Bearer ")


@dataclass
class Reply:
    """What an application answers."""

    route: str
    """The kind of request, by which faults and the log tell replies apart."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: Blob | bytes = b""
    divisible: bool = True
    """Whether a Range header means bytes of this content."""


@dataclass
class Record:
    """One request and what became of it."""

    route: str
    request: Request
    status: int
    sent: int = 0
    """Bytes of the body that were sent."""

    @property
    def range(self) -> str | None:
        """The part that was asked for."""
        return self.request.headers.get("range")


class Log:
    """The requests that servers answered, oldest first."""

    def __init__(self) -> None:
        self._records: list[Record] = []

    def add(self, record: Record) -> None:
        """Keep a record; its counter may still grow."""
        self._records.append(record)

    def records(self, route: str = "*", *, method: str = "*", path: str = "*") -> list[Record]:
        """Return the records whose route, method and decoded path match these globs."""
        return [
            record
            for record in list(self._records)
            if fnmatchcase(record.route, route)
            and fnmatchcase(record.request.method, method)
            and fnmatchcase(record.request.path, path)
        ]

    def sent(self, route: str = "*", *, path: str = "*") -> int:
        """Count the body's bytes that were sent for such requests."""
        return sum(record.sent for record in self.records(route, path=path))

    def clear(self) -> None:
        """Forget everything so far."""
        self._records = []
