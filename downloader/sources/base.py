"""The contract of a source: it lists one artifact and opens byte ranges of its files.

Everything above this seam knows a `Source` and nothing of the protocol behind it. Retries, the bandwidth limit and the
limit on concurrent requests are `SourceWrapper`s: sources around a source. `tests/conformance` runs the contract
against every source on a real server, and against its wrappers.

What a source must keep:

- **All calls are idempotent.** `version` and `manifest` only read, and `open` can be called again for any range, also
  for one that is being read or has been read. A retry is therefore the same call once more.
- **A listing is whole.** `manifest` returns every file or raises: a missing page is an error.
- **A file is pinned.** `open` returns bytes of the version that was listed, or raises SourceChanged. A file that was
  listed twice with equal facts is the same file.
- **Only `DownloadError`s leave it.** Their verdict says whether the caller retries, falls back or fails (`errors.py`).
- **Retries are not its business.** It asks a second time only where that says what the first answer means: a GET after
  a HEAD, a plainer route, a signature without a version. It never sleeps, which would hide time from the retry policy
  and from the stall watchdog.
- **It is for many threads.** A `Body` is for the one thread that reads it, apart from `interrupt`.

Some sources can do more. Such an *optional ability* is a protocol of its own, `Presigning`, `Recalling`, `Moving`,
`XetSource`, `Identified`, `Local`, `Sharing` or `Locating`, and `ability` is the only way to look for one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from downloader.artifact import Manifest, ModelCard, RemoteFile, Span

AbilityT = TypeVar("AbilityT")


class Body(Protocol):
    """The bytes of one range while they arrive."""

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into `view`, of at least one byte, and return their number.

        Blocks until there is a byte. Returns fewer than fit as they arrive, and 0 only after the range's last byte.
        Must raise SourceUnavailable if the bytes end early, and SourceChanged or ProtocolFailed if they are too many or
        of another version.
        """

    def interrupt(self) -> None:
        """Wake the reader, which may be blocked in another thread: its `readinto` must then raise soon."""

    def close(self) -> None:
        """Release the connection, which is reused if the last byte has been read. For the reading thread.

        It must be called also after `readinto` has raised.
        """


class Source(Protocol):
    """A place that lists an artifact and serves ranges of its files. Must be usable from many threads."""

    def version(self) -> str | None:
        """Return a name for what `manifest` would list now; None if that takes as many requests as `manifest`.

        Equal names must mean equal paths and bytes. What was learned is kept for the next `manifest`, which must not
        ask for it again. Raises what `manifest` raises.
        """

    def manifest(self) -> Manifest:
        """Return the complete list of files, pinned to one version.

        Raises SourceNotFound if there is no artifact or no file, AccessDenied, SourceUnavailable and Throttled from the
        server, ConfigurationError for a path that is unsafe on a volume, ProtocolFailed for a listing without end or
        sense.
        """

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading bytes `span.start` to `span.stop - 1` of a file of the last manifest.

        Raises SourceChanged if the file has been replaced, RangeIgnored if the server answers with other bytes, and
        what `manifest` raises. The body may raise the same at its first read.
        """

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Hint which ranges the calling thread will `open` next, in this order, so that requests can be pipelined.

        Ranges of an earlier hint that have not been opened yet come first again. An empty sequence withdraws the hint
        and drains what has been requested. A source may do nothing; none may raise.
        """

    def close(self) -> None:
        """Release what the source holds. Connections belong to the run's HTTP client."""


@runtime_checkable
class Presigning(Protocol):
    """An ability: files can also be read from URLs that carry their own signature."""

    def presigned(self) -> Source:
        """Return a source that reads the same files by such URLs."""


@runtime_checkable
class Recalling(Protocol):
    """An ability: the version is known without a request, if the source is told what a volume contains of it."""

    def recall(self, revision: str) -> None:
        """Take `revision` for what the URI means, unless the source has resolved it already."""


@runtime_checkable
class Moving(Protocol):
    """An ability: what the URI means may move while a run works on what it meant before."""

    def latest(self) -> str:
        """Ask which revision the URI means now; the source stays at the one that it has. Raises DownloadError."""


@runtime_checkable
class XetSource(Protocol):
    """An ability: files may be stored in Xet (`RemoteFile.xet_hash`)."""

    def xet_access(self) -> XetAccess:
        """Return a token for Xet's storage. Raises ProtocolDown if the server has none to give."""

    def xet_locations(self, access: XetAccess, xet_hash: str) -> list[str]:
        """Return the URLs from which a file's bytes come, as the storage names them. Raises a DownloadError."""

    def require_trust(self, origin: str) -> None:
        """Raise UntrustedServer if the certificate of a server, `https://host[:port]`, cannot be verified."""


@runtime_checkable
class Identified(Protocol):
    """An ability: the source can say on whose behalf it asks."""

    def identity(self) -> str:
        """Return a phrase for people that begins with "with" or "without": which credentials are sent, no secret.

        May ask a provider of credentials, and raise what `manifest` raises for want of them.
        """


@runtime_checkable
class Local(Protocol):
    """An ability: the artifact is on a file system of this machine."""

    def require_apart(self, target: Path) -> None:
        """Raise ConfigurationError if a target folder and the artifact are in each other."""


@runtime_checkable
class Sharing(Protocol):
    """An ability: a file system may give another file the content of one without a copy."""

    def share(self, file: RemoteFile, take: Callable[[int], bool]) -> bool:
        """Call `take` with a handle of the file, to return whether it took the content over; the handle ends with that.

        Raises SourceChanged unless the file is the very one that was listed, and still is after that.
        """


@runtime_checkable
class Described(Protocol):
    """An ability: the owners of the artifact say something of it."""

    def card(self) -> ModelCard:
        """Return that, by one request. Raises what `manifest` raises."""


@runtime_checkable
class Locating(Protocol):
    """An ability: as a mirror, it can say what it has with fewer requests than `manifest` needs."""

    def locate(self, manifest: Manifest) -> Mapping[str, RemoteFile]:
        """Return path → file as `open` takes it, of the files of another source's manifest that it may have.

        What it does not know, such as sizes and digests, it takes from the manifest. Raises what `manifest` raises.
        """


def located(source: Source, manifest: Manifest) -> Mapping[str, RemoteFile]:
    """Return path → file as a mirror's source has it, of the files that another source has listed."""
    locating = ability(source, Locating)
    if locating is not None:
        return locating.locate(manifest)
    return {file.path: file for file in source.manifest().files}


@dataclass(frozen=True, slots=True)
class XetAccess:
    """A token for Xet's storage, and how to get the next one."""

    endpoint: str
    """URL of the content-addressed store."""
    token: str = field(repr=False)
    expires: int
    """Seconds since the epoch."""
    refresh_url: str
    refresh_headers: Mapping[str, str] = field(repr=False)


class SourceWrapper:
    """A source that adds a behaviour to another one: it passes on every call that it does not override.

    A wrapper need not know the optional abilities: `ability` finds them through `unwrap`. It implements one itself only
    if its behaviour has to apply to what the ability returns; then it is found first.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def unwrap(self) -> Source:
        """Return the source inside."""
        return self._source

    def version(self) -> str | None:
        """Return the source's version."""
        return self._source.version()

    def manifest(self) -> Manifest:
        """Return the source's manifest."""
        return self._source.manifest()

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a range."""
        return self._source.open(file, span)

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pass on the hint."""
        self._source.prefetch(pieces)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def ability(source: Source, kind: type[AbilityT]) -> AbilityT | None:
    """Return the outermost source that has an optional ability, through all wrappers; None if none has it.

    What the ability returns has not been wrapped: `ability(source, Presigning).presigned()` reads without the retry
    policy that stands around `source`, and the caller puts it around the result.
    """
    while not isinstance(source, kind):
        if not isinstance(source, SourceWrapper):
            return None
        source = source.unwrap()
    return source


def folder_of(uri: str) -> str:
    """Return the URI of the folder that a URI's file is in."""
    return uri.rpartition("/")[0] + "/"


def version_of(uri: str, facts: Iterable[str | bytes]) -> str:
    """Return a name, 64 hex digits, for what these facts, in this order, say of the artifact that a URI names.

    For `Source.version`: equal facts give equal names in every run and on every machine.
    """
    name = hashlib.sha256()
    for fact in (uri, *facts):
        raw = fact.encode(errors="surrogatepass") if isinstance(fact, str) else fact
        name.update(b"%d " % len(raw))  # so that no two lists of facts are hashed as the same bytes
        name.update(raw)
    return name.hexdigest()
