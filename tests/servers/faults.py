"""The vocabulary of misbehaviour: what a server on loopback can be told to do wrong, when, and how often.

    faults.add(Reset(after=100_000), route="cdn")                          # the next body on this route breaks
    faults.add(too_many_requests("7"), route="api", times=2)               # twice, then all is well
    faults.add(Stall(), route="cdn", path="*.safetensors", offset=1 << 20, times=FOREVER)

A fault is played on an exchange and knows nothing of the server: every class with the `Exchange` verbs can use it.
"""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOREVER = math.inf


class Exchange(Protocol):
    """What a fault can do to one reply. The server makes the reply first; the fault decides what becomes of it."""

    url: str
    """What was asked for."""
    headers: dict[str, str]
    """The reply's headers; they may be changed until `head` is called."""
    declared: int | None
    """The Content-Length for `head` to tell, None for none; unless it is right, the connection ends with the body."""
    length: int
    """Bytes of the reply's body."""
    sent: int
    """Bytes of the body that are on their way."""

    @property
    def conditional(self) -> bool:
        """The request is for one version only."""

    def replace(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """Forget the reply and take this one instead."""

    def ignore_range(self) -> None:
        """Forget that the request asked for a part."""

    def ignore_conditions(self) -> None:
        """Forget that the request asked for one version only."""

    def shift_range(self, by: int) -> None:
        """Answer the part that lies this many bytes further on."""

    def shorten_range(self, to: int) -> None:
        """Answer at most so many bytes of the part that was asked for."""

    def head(self) -> None:
        """Send the status line and the headers."""

    def body(self, until: int | None = None) -> None:
        """Send the body up to this many bytes from its start; all of it by default."""

    def send(self, content: bytes) -> None:
        """Send bytes that do not belong to the body."""

    def flip(self) -> None:
        """Send the body's next byte with all bits inverted."""

    def hang(self, seconds: float | None) -> None:
        """Send nothing for so long; with None until the client gives up or the server closes."""

    def end(self, *, reset: bool) -> None:
        """End the connection, by RST or by FIN, and this exchange with it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to misbehave. This one behaves."""

    spoils_body: ClassVar[bool] = False
    """Whether it needs a body to spoil; then it passes over replies without one."""

    def prepare(self, exchange: Exchange) -> None:
        """Act before the head is sent."""

    def play(self, exchange: Exchange, after: int) -> None:
        """Send the reply the wrong way; `after` counts bytes of the body."""
        del after
        self.prepare(exchange)
        exchange.head()
        exchange.body()


@dataclass(frozen=True, slots=True)
class Answer(Fault):
    """Another reply instead of the right one."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""

    def prepare(self, exchange: Exchange) -> None:
        exchange.replace(self.status, self.headers, self.content)


def too_many_requests(retry_after: str | None = None) -> Answer:
    """Make a 429, with Retry-After in seconds or as an HTTP date."""
    return Answer(429, {} if retry_after is None else {"Retry-After": retry_after}, b"slow down")


def web_page() -> Answer:
    """Make what a captive portal answers to everything."""
    return Answer(200, {"Content-Type": "text/html"}, b"<!doctype html><title>Welcome</title><p>Please log in.")


@dataclass(frozen=True, slots=True)
class Headers(Fault):
    """The right reply with these headers changed, or left out where the value is None."""

    changes: Mapping[str, str | None]

    def prepare(self, exchange: Exchange) -> None:
        for name, value in self.changes.items():
            exchange.headers.pop(name, None)
            if value is not None:
                exchange.headers[name] = value


@dataclass(frozen=True, slots=True)
class Silence(Fault):
    """The request is read and not answered, for some seconds or at all."""

    seconds: float | None = None

    def prepare(self, exchange: Exchange) -> None:
        exchange.hang(self.seconds)


@dataclass(frozen=True, slots=True)
class HangUp(Fault):
    """The connection ends before the reply, by RST or by FIN."""

    reset: bool = False

    def prepare(self, exchange: Exchange) -> None:
        exchange.end(reset=self.reset)


@dataclass(frozen=True, slots=True)
class EndlessPages(Fault):
    """Each page of a listing names itself as the next one."""

    def prepare(self, exchange: Exchange) -> None:
        exchange.headers["Link"] = f'<{exchange.url}>; rel="next"'


@dataclass(frozen=True, slots=True)
class IgnoreRange(Fault):
    """The whole resource with status 200, whatever part was asked for."""

    def prepare(self, exchange: Exchange) -> None:
        exchange.ignore_range()


@dataclass(frozen=True, slots=True)
class ShiftRange(Fault):
    """Another part than the one asked for, so many bytes further on, and Content-Range admits it."""

    spoils_body: ClassVar[bool] = True
    by: int

    def prepare(self, exchange: Exchange) -> None:
        exchange.shift_range(self.by)


@dataclass(frozen=True, slots=True)
class ShortenRange(Fault):
    """No more than so many bytes of the part that was asked for, and Content-Range admits it."""

    spoils_body: ClassVar[bool] = True
    to: int

    def prepare(self, exchange: Exchange) -> None:
        exchange.shorten_range(self.to)


@dataclass(frozen=True, slots=True)
class EveryNth(Fault):
    """Another fault on each nth reply: one node of several behind one name."""

    fault: Fault
    n: int
    _turns: Iterator[int] = field(default_factory=itertools.count)

    def play(self, exchange: Exchange, after: int) -> None:
        broken = next(self._turns) % self.n == self.n - 1
        (self.fault if broken else Fault()).play(exchange, after)


@dataclass(frozen=True, slots=True)
class Misdeclare(Fault):
    """Content-Length lies by this many bytes; the body is the right one, and then the connection ends."""

    spoils_body: ClassVar[bool] = True
    by: int

    def prepare(self, exchange: Exchange) -> None:
        exchange.declared = (exchange.declared or 0) + self.by


@dataclass(frozen=True, slots=True)
class Length(Fault):
    """Content-Length says something else, or nothing, while the rest of the reply stays as it is."""

    length: int | None

    def prepare(self, exchange: Exchange) -> None:
        exchange.declared = self.length


@dataclass(frozen=True, slots=True)
class BodyFault(Fault):
    """A fault that strikes after so many bytes of the body."""

    spoils_body: ClassVar[bool] = True
    after: int = 0

    def inject(self, exchange: Exchange) -> None:
        """Do the damage, in the middle of the body."""

    def play(self, exchange: Exchange, after: int) -> None:
        exchange.head()
        exchange.body(until=after)
        self.inject(exchange)
        exchange.body()


@dataclass(frozen=True, slots=True)
class Stall(BodyFault):
    """The body stops coming, for some seconds or for good, while the connection stays open."""

    seconds: float | None = None

    def inject(self, exchange: Exchange) -> None:
        exchange.hang(self.seconds)


@dataclass(frozen=True, slots=True)
class Held(BodyFault):
    """The body stops coming until the test lets it go on."""

    go_on: threading.Event = field(default_factory=threading.Event)

    def inject(self, exchange: Exchange) -> None:
        while not self.go_on.is_set():
            exchange.hang(0.01)


@dataclass(frozen=True, slots=True)
class Reset(BodyFault):
    """The connection breaks (RST)."""

    def inject(self, exchange: Exchange) -> None:
        exchange.end(reset=True)


@dataclass(frozen=True, slots=True)
class Cut(BodyFault):
    """The connection ends in an orderly way (FIN): fewer bytes than promised."""

    def inject(self, exchange: Exchange) -> None:
        exchange.end(reset=False)


@dataclass(frozen=True, slots=True)
class Flip(BodyFault):
    """One byte is wrong."""

    def inject(self, exchange: Exchange) -> None:
        exchange.flip()


@dataclass(frozen=True, slots=True)
class Trickle(BodyFault):
    """From there on the body comes at so many bytes per second."""

    rate: int = 20_000

    def inject(self, exchange: Exchange) -> None:
        step = max(1, self.rate // 20)
        while exchange.sent < exchange.length:
            exchange.body(until=exchange.sent + step)
            exchange.hang(step / self.rate)


@dataclass(slots=True)
class _Rule:
    fault: Fault
    globs: tuple[str, str, str]
    offset: int
    skip: int
    times: float


class Faults:
    """The faults in force on some servers. May be changed at any time, from any thread."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def add(
        self,
        fault: Fault,
        *,
        route: str = "*",
        path: str = "*",
        method: str = "*",
        offset: int = 0,
        skip: int = 0,
        times: float = 1,
    ) -> None:
        """Play `fault` on replies whose route, decoded path and method match these globs.

        `offset` is a place in the resource: a fault of the body strikes there, whichever part is asked for; bodies that
        end before are spared. So are the first `skip` replies that match; the next `times` are not. Rules are tried in
        the order in which they were added, and at most one is played on a reply.
        """
        with self._lock:
            self._rules.append(_Rule(fault, (route, method, path), offset, skip, times))

    def clear(self) -> None:
        """Behave from now on; what hangs goes on hanging."""
        with self._lock:
            self._rules.clear()

    def take(self, route: str, method: str, path: str, start: int, stop: int) -> tuple[Fault, int]:
        """Return what to play on a reply with these bytes of a resource, and after how many of them it strikes."""
        with self._lock:
            for rule in self._rules:
                if rule.times <= 0 or not all(map(fnmatchcase, (route, method, path), rule.globs)):
                    continue
                after = rule.fault.after if isinstance(rule.fault, BodyFault) else 0
                after = max(after, rule.offset - start)
                if rule.fault.spoils_body and start + after >= stop:
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                rule.times -= 1
                return rule.fault, after
        return Fault(), 0
