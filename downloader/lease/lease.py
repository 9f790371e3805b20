"""The lease on a volume: one process works, others wait. No flock: it lies or fails on network file systems.

The lease is a file `.downloading/lease.<epoch>` that only one process can create, and its heartbeat: a counter in it
that the holder rewrites. A waiting process judges it only by whether it was *seen to change*, on its own monotonic
clock, so wrong clocks do no harm. Time in which the volume did not answer that process does not count against the
holder.

A lease unchanged for its time to live is taken over by creating the next epoch, which one process wins. It counts only
if the dead leases are still the very ones that were judged: epochs begin at 1 again after each finished artifact, so
the number of a dead lease may by now be that of a living one. Only then a newer lease gets its content, and one without
content is no reason for a holder to give up.

The winner renames the folder of partials to its own token: a frozen holder that wakes up finds none of its paths, so it
cannot rename anything to a final name any more. What it still can do is finish a write into a partial that it has open;
those are bytes of the very content that the partial's name stands for, at their place, and the digest covers the rest.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from downloader.errors import DownloadError, LeaseLost
from downloader.filesystem import AlreadyThere, InTheWay, Kind, NotThere, discard
from downloader.formatting import single_line
from downloader.lease.process_id import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.filesystem import FileOperations

WORK = ".downloading"
"""The folder in the target under which everything of ours lives until the artifact is complete."""
PARTS = "parts."
SHARDS = "shards."
"""How the folder begins through which several processes divide the work on one artifact."""
LEASE = "lease."
LAST_EPOCH = 10**15
"""No run counts further; a lease file may still have the next number."""
_LEASE = re.compile(r"lease\.(0|[1-9][0-9]{0,15})")

_LIMIT = 16384
"""Bytes of a lease that are read: far more than any of ours has."""
_MAX_NAME_LENGTH = 300
_LAST_SECOND = 1 << 35
"""A time in a lease that is later was written by another program."""
_BOOT_TIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BEATS = 6
"""Heartbeats per time to live."""
_GONE = "its lease is gone"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lease."""

    token: str
    process: ProcessIdentity
    uri: str
    """The artifact that it downloads."""
    since: int = 0
    """When it got the lease, by its own clock: seconds since 1970, 0 where that is unknown. For people only."""

    def __str__(self) -> str:
        return single_line(f"{self.process} ({self.uri})", _MAX_NAME_LENGTH)


def boot_clock() -> float:
    """Return seconds on a clock that also runs while the process or the machine sleeps."""
    return time.clock_gettime(_BOOT_TIME)


class Lease:
    """A lease that is held. A daemon thread writes its heartbeat until `release`."""

    def __init__(
        self,
        files: FileOperations,
        epoch: int,
        holder: Holder,
        *,
        ttl: float,
        clock: Callable[[], float],
        on_lost: Callable[[LeaseLost], None],
    ) -> None:
        """`on_lost` is called in the thread of the heartbeat, once, if that finds that another process took over."""
        self._files = files
        self._on_lost = on_lost
        self._holder = holder
        self._ttl = ttl
        self._clock = clock
        self.in_order = False
        """The volume takes the bytes of a file only in order, each once."""
        self._path = lease_path(epoch)
        self._epoch = epoch
        self._beats = 0
        self._last = clock()
        self._lost: str | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="lease heartbeat", daemon=True)

    @property
    def folder(self) -> str:
        """The folder of the holder's partials."""
        return parts_path(self._holder.token)

    def start(self) -> None:
        """Start the heartbeat."""
        self._thread.start()

    def check(self) -> None:
        """Raise LeaseLost if another process took over. Cheap: reads the volume only if a heartbeat is overdue."""
        if self._lost is not None:
            raise self._error()
        if self._clock() - self._last > self._ttl / 2:
            self.confirm()

    def confirm(self) -> None:
        """Read the lease, write a heartbeat, and raise LeaseLost if another process took over."""
        with self._lock:
            if self._lost is None and not self._stopped.is_set():
                self._beat()
        if self._lost is not None:
            raise self._error()

    def release(self) -> None:
        """Remove the lease, if it is still ours, and the folders if they are empty.

        Raises nothing: a lease that stays is taken over like that of any dead process.
        """
        self._stopped.set()
        try:
            with self._lock:
                if self._lost is None and (handle := self._open_own()) is not None:
                    self._files.close(handle)
                    for epoch in epochs(self._files):
                        if epoch > self._epoch:  # not held: its creator was killed before it could remove it
                            discard(self._files, lease_path(epoch))
                    discard(self._files, self._path)
            self._remove_folders()
        except DownloadError as error:
            _log.info("could not remove the lease on %s: %s", self._files.name, error)
        finally:
            self._thread.join()  # it beats no more: it waited for its next beat, or for the lock

    def _remove_folders(self) -> None:
        for folder in (self.folder, WORK):
            with suppress(NotThere, InTheWay, AlreadyThere):
                self._files.remove_folder(folder)

    def _keep_beating(self) -> None:
        while not self._stopped.wait(self._ttl / _BEATS):
            try:
                self.confirm()
            except LeaseLost as error:
                # All others may be waiting for a server that is silent: they would notice at their next write only.
                self._on_lost(error)
                return
            except DownloadError as error:
                _log.debug("the heartbeat of the lease failed: %s", error)

    def _beat(self) -> None:
        now = self._clock()
        handle = self._open_own()
        if handle is None:
            return
        self._beats += 1
        content = render_lease(self._holder, self._beats)
        try:
            if not self.in_order:
                self._files.write(handle, 0, content)
                self._files.sync(handle)
        except NotThere:
            self._lost = _GONE
            return
        finally:
            self._files.close(handle)
        if self.in_order:
            self._replace(content)
        self._last = now

    def _replace(self, content: bytes) -> None:
        """Write a heartbeat as a new file in the place of the lease, where that cannot be rewritten."""
        beat = f"{WORK}/beat.{self._holder.token}"
        discard(self._files, beat)
        handle = self._files.create(beat)
        try:
            self._files.write(handle, 0, content)
        finally:
            self._files.close(handle)
        self._files.rename(beat, self._path)

    def _open_own(self) -> int | None:
        """Return a handle of the lease file if it is still ours; the caller closes it."""
        newer = any(epoch > self._epoch and self._has_holder(epoch) for epoch in epochs(self._files))
        try:
            handle = self._files.open(self._path, write=not self.in_order)
        except (NotThere, InTheWay):
            self._lost = _GONE
            return None
        try:
            found = parse_lease(_content(self._files, handle))
        except NotThere:  # removed by another node after it was opened
            found = None
        if newer or found is None or found.token != self._holder.token:
            self._files.close(handle)
            self._lost = "the lease has another holder"
            return None
        return handle

    def _has_holder(self, epoch: int) -> bool:
        """Return whether a lease names a holder. An empty one may be removed by its creator, which finds ours alive."""
        content = read_lease(self._files, lease_path(epoch))
        return content is not None and parse_lease(content) is not None

    def _error(self) -> LeaseLost:
        return LeaseLost(
            f"another process has taken over {self._files.name} while this one did not answer: {self._lost}",
            hint="nothing is lost: the other one goes on where this one stopped",
        )


def lease_path(epoch: int) -> str:
    """Return the path of a lease file."""
    return f"{WORK}/{LEASE}{epoch}"


def parts_path(token: str) -> str:
    """Return the folder of a holder's partials."""
    return f"{WORK}/{PARTS}{token}"


def epochs(files: FileOperations) -> list[int]:
    """Return the epochs of all leases, the newest last."""
    names = (name for name, kind in files.scan(WORK).items() if kind is Kind.FILE and is_lease(name))
    return sorted(int(name.removeprefix(LEASE)) for name in names)


def is_lease(name: str) -> bool:
    """Return whether a name in `.downloading` is that of a lease."""
    return _LEASE.fullmatch(name) is not None


def new_token() -> str:
    """Return a random name for a holder."""
    return secrets.token_hex(8)


def read_lease(files: FileOperations, path: str) -> bytes | None:
    """Return a lease's content; None if it is gone."""
    try:
        handle = files.open(path)
    except (NotThere, InTheWay):
        return None
    try:
        return _content(files, handle)
    except NotThere:  # removed by another node after it was opened
        return None
    finally:
        files.close(handle)


def render_lease(holder: Holder, beats: int) -> bytes:
    """Return a lease's content. It has the same length for every heartbeat, so that it can be rewritten in place."""
    fields = {"token": holder.token, "uri": holder.uri, **holder.process.fields(), "since": holder.since}
    fields["beats"] = f"{beats:012}"
    return json.dumps(fields).encode() + b"\n"


def parse_lease(content: bytes) -> Holder | None:
    """Return the holder of a lease; None if its content does not name one."""
    try:
        fields = json.loads(content)
        holder = Holder(str(fields["token"]), ProcessIdentity.parse(fields), str(fields["uri"]))
        since = fields.get("since")  # which a lease of an earlier release lacks
        return replace(holder, since=since) if isinstance(since, int) and 0 <= since <= _LAST_SECOND else holder
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _content(files: FileOperations, handle: int) -> bytes:
    buffer = bytearray(_LIMIT)
    return bytes(buffer[: files.read(handle, 0, memoryview(buffer))])
