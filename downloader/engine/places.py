"""Where the bytes of a run come from: places, which are the origin and its mirrors, and the routes over them.

Only the origin is believed. It lists the artifact, and what a mirror serves of a file counts if the origin publishes a
cryptographic digest of it, and the bytes have that digest. So a mirror cannot do worse than cost time: it is asked with
short limits, and not at all any more once it is unreachable or was wrong too often.

A route is one protocol of one place, and an attempt goes along one route. Whatever an attempt has received stays: the
partial of a file belongs to its digest and not to the place that it came from.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from downloader.artifact import Mismatch
from downloader.errors import (
    PLACE_ERRORS,
    AccessDenied,
    DownloadError,
    IntegrityError,
    ProtocolDown,
    SourceChanged,
    SourceNotFound,
    Stalled,
    Verdict,
)
from downloader.integrity import SPECS, has_cryptographic_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from downloader.artifact import Manifest, RemoteFile, TransferProtocol
    from downloader.cancellation import Cancellation
    from downloader.transfer import Transport

MAX_FAULTS = 3
"""Files that a mirror may get wrong, or that a place may refuse, before it is not asked any more in this run."""
MAX_ABSENT = 32
"""Files in a row that a mirror may lack before it is not asked any more: one without a list is asked for each file."""

log = logging.getLogger(__name__)


class Locate(Protocol):
    """Asks a mirror what it has."""

    def __call__(self, manifest: Manifest, attempt: Cancellation) -> Mapping[str, RemoteFile]:
        """Return path → file as the mirror has it, of as many files of the manifest as it has.

        Raises a DownloadError; `attempt` ends the wait for an answer.
        """


class Place:
    """The origin or a mirror, in one run. Thread-safe."""

    def __init__(self, name: str = "", locate: Locate | None = None) -> None:
        """`name` is what people are told: the URI without secrets, empty where there is only the origin.

        A mirror is asked by `locate` what it has, at most once for each listing of the origin.
        """
        self.name = name
        self._locate = locate
        self._lock = threading.Lock()
        self._located: tuple[Manifest, dict[str, RemoteFile]] | None = None
        self._refused: set[str] = set()
        self._denied = 0
        self._absent = 0
        self.faults = 0
        """Files whose bytes were not what the origin lists."""
        self.is_out = False
        """It is not asked any more, except as the last resort."""
        self.is_needed = False
        """The origin is not asked behind it, so that it is asked for each file, however many it lacks."""
        self.is_abandoned = False
        """It is not asked at all: it has not listed what is fetched."""

    @property
    def is_mirror(self) -> bool:
        """Whether its bytes count only where the origin's digests prove them."""
        return self._locate is not None

    def may_have(self, files: Iterable[RemoteFile]) -> list[RemoteFile]:
        """Return the files that it may be asked for, as far as that is known without asking it."""
        if not self.is_mirror:
            return [file for file in files if file.path not in self._refused]
        return [file for file in files if file.path not in self._refused and has_cryptographic_digest(file)]

    def files(self, manifest: Manifest, missing: Sequence[RemoteFile], attempt: Cancellation) -> Sequence[RemoteFile]:
        """Return the missing files that it has, each as it has to be asked for here. May ask a mirror what it has."""
        if self._locate is None:
            return missing
        if self._located is None or self._located[0] is not manifest:
            self._located = manifest, self._adopted(manifest, self._locate(manifest, attempt))
        located = self._located[1]
        # The largest first: a mirror without a list that has only the weights is not given up for the rest.
        missing = sorted(missing, key=lambda file: -file.size)
        return [located[file.path] for file in missing if file.path in located and file.path not in self._refused]

    def _adopted(self, manifest: Manifest, found: Mapping[str, RemoteFile]) -> dict[str, RemoteFile]:
        """Return the files of the manifest that the mirror seems to have; those that differ are not worth a byte."""
        adopted, others = {}, []
        for file in manifest.files:
            theirs = found.get(file.path)
            if theirs is None:
                continue
            if _contradicts(file, theirs):
                others.append(file.path)
            else:
                adopted[file.path] = file.served_as(theirs)
        if others:
            log.warning(
                "mirror %s has another version of %s%s, which the other places have to serve",
                self.name,
                others[0],
                f" and {len(others) - 1} more files" if len(others) > 1 else "",
            )
        return adopted

    def blame(self, path: str, error: DownloadError) -> DownloadError | None:
        """Record that it did not serve a file; return why the attempt has to end if going on is useless."""
        with self._lock:
            if isinstance(error, SourceNotFound):
                self._refused.add(path)
                return self._count_absent()
            if self.is_mirror and isinstance(error, IntegrityError):
                self._refused.add(path)
                return self._count_fault(error)
            if isinstance(error, PLACE_ERRORS):
                self._refused.add(path)
                self._denied += 1
                # A token may be refused for one file; a certificate is the same for all.
                return error if self._denied >= MAX_FAULTS or not isinstance(error, AccessDenied) else None
        return None

    def served(self) -> None:
        """Record that bytes of a file came from it."""
        with self._lock:
            self._absent = 0

    def _count_absent(self) -> DownloadError | None:
        self._absent += 1
        if not self.is_mirror or self.is_needed or self._absent < MAX_ABSENT or self.is_out:
            return None
        self.is_out = True
        why = f"mirror {self.name} lacks {self._absent} files in a row and is not asked any more"
        log.info("%s", why)
        return ProtocolDown(why)

    def _count_fault(self, error: IntegrityError) -> DownloadError | None:
        self.faults += 1
        if self.faults == 1:
            kind = "changed" if isinstance(error, SourceChanged) else "is wrong"
            log.warning("mirror %s %s: %s", self.name, kind, error.message)
        if self.faults < MAX_FAULTS or self.is_out:
            return None
        self.is_out = True
        why = f"mirror {self.name} was wrong {self.faults} times and is not asked any more"
        log.warning("%s", why)
        return ProtocolDown(why)

    def ended(self, error: DownloadError) -> None:
        """Record how an attempt ended: a place that is unreachable or stalls costs that time once."""
        if error.verdict is Verdict.RETRY or isinstance(error, (Stalled, *PLACE_ERRORS)):
            self.is_out = True


def _contradicts(file: RemoteFile, theirs: RemoteFile) -> bool:
    """Tell whether what a mirror says of a file cannot be true of the origin's."""
    if theirs.sized and file.sized and theirs.size != file.size:
        return True
    known = {digest.algorithm: digest.value for digest in file.digests}
    certain = (digest for digest in theirs.digests if digest.mismatch is Mismatch.DAMAGE)
    return any(
        SPECS[digest.algorithm].cryptographic and known.get(digest.algorithm, digest.value) != digest.value
        for digest in certain
    )


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One protocol of one place."""

    place: Place
    protocol: TransferProtocol
    make: Callable[[TransferProtocol, Cancellation], Transport]
    """Makes the transport of an attempt, which its cancellation ends."""
    last_retry: float
    """Seconds without a byte for any file after which one file's failure ends the whole attempt."""
    is_last_resort: bool = True
    """No other place follows, so that an error of the place is one of the run."""

    @property
    def name(self) -> str:
        """The protocol, and the place where there are several."""
        return f"{self.protocol} at {self.place.name}" if self.place.name else str(self.protocol)

    def ends_run(self, error: DownloadError) -> bool:
        """Tell whether an error that ended an attempt is one that no other route can make good."""
        if not self.is_last_resort and isinstance(error, PLACE_ERRORS):
            return False
        if isinstance(error, SourceChanged):
            return not self.place.is_mirror
        return error.verdict is Verdict.FAIL


def only_routes(
    protocols: Iterable[TransferProtocol],
    make: Callable[[TransferProtocol, Cancellation], Transport],
    last_retry: float,
) -> tuple[Route, ...]:
    """Return the routes of a run that has no mirrors: one for each protocol."""
    origin = Place()
    return tuple(Route(origin, protocol, make, last_retry) for protocol in protocols)


def next_route(routes: Sequence[Route], after: int, missing: Sequence[RemoteFile]) -> int | None:
    """Return the position of the next route, from `after` on, that is worth an attempt; None after the last one."""
    for position in range(after, len(routes)):
        route = routes[position]
        if route.place.is_abandoned:
            continue
        if route.is_last_resort or (not route.place.is_out and route.place.may_have(missing)):
            return position
    return None
