"""Getting the lease of a volume: waiting while its holder lives, taking over when it does not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from downloader.errors import NoSpace
from downloader.filesystem import AlreadyThere, FileOperations, InTheWay, Kind, NotThere, discard, remove
from downloader.formatting import single_line
from downloader.lease.lease import (
    LAST_EPOCH,
    PARTS,
    WORK,
    Holder,
    Lease,
    epochs,
    is_lease,
    lease_path,
    new_token,
    parse_lease,
    parts_path,
    read_lease,
    render_lease,
)
from downloader.lease.process_id import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

_POLLS = 12
"""Looks at somebody else's lease per time to live."""
_LONGEST_POLL = 2.0
_LONGEST_URI = 1000
_MOST_LEASES = 16
"""Leases that are looked at; a takeover that was killed leaves one beside the one that it was for."""


class LeaseAcquirer:
    """Wants the lease of a volume.

    `ttl`, in seconds, is how long a lease must be seen unchanged before its holder counts as dead. `waiting` is told
    who holds the lease and for how many seconds it has not changed, before each pause. `sleep` may raise to end the
    wait. `make_room` is called when the volume is too full for a lease, and tells whether it freed anything.
    """

    def __init__(
        self,
        files: FileOperations,
        uri: str,
        *,
        ttl: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        waiting: Callable[[str, float], None],
        make_room: Callable[[], bool],
    ) -> None:
        self._files = files
        self._ttl = ttl
        self._clock = clock
        self._sleep = sleep
        self._waiting = waiting
        self._make_room = make_room
        self._holder = Holder(new_token(), ProcessIdentity.current(), single_line(uri, _LONGEST_URI))
        self._watched: dict[int, tuple[bytes, float]] = {}
        """For each lease that was seen, its content and for how many seconds that has not changed."""
        self._looked = clock()
        self._poll = min(_LONGEST_POLL, ttl / _POLLS)

    def acquire(self) -> Lease:
        """Return the lease once it is ours, its heart beating."""
        try:
            return self._acquire()
        except NoSpace:
            if not self._make_room():
                raise
            return self._acquire()

    def _acquire(self) -> Lease:
        while True:
            _make_work_folder(self._files)
            held = self._held()
            alive = self._alive(held)
            if alive is not None:
                self._waiting(*alive)
                self._sleep(self._poll)
                continue
            lease = self._take(held)
            if lease is not None:
                lease.start()
                return lease
            self._sleep(self._poll * random.random())  # noqa: S311 -- two processes that wait must not stay in step

    def _held(self, but: int = -1) -> dict[int, bytes]:
        """Return the content of each lease but one; of the newest only, if there are more than there can be."""
        newest = [epoch for epoch in epochs(self._files) if epoch != but][-_MOST_LEASES:]
        found = {epoch: read_lease(self._files, lease_path(epoch)) for epoch in newest}
        return {epoch: content for epoch, content in found.items() if content is not None}

    def _alive(self, held: dict[int, bytes]) -> tuple[str, float] | None:
        """Return who holds one of these leases and for how many seconds it has not changed; None if all are dead."""
        now = self._clock()
        passed = min(now - self._looked, 2 * self._poll)
        self._looked = now
        watched, self._watched = self._watched, {}
        alive = None
        for epoch, content in held.items():
            before, quiet = watched.get(epoch, (None, 0.0))
            quiet = quiet + passed if before == content else 0.0
            self._watched[epoch] = content, quiet
            holder = parse_lease(content)
            if quiet < self._ttl and not (holder is not None and holder.process.is_gone()):
                alive = str(holder or "a process that has not said who it is"), quiet
        return alive

    def _take(self, dead: dict[int, bytes]) -> Lease | None:
        """Create the next lease; None if somebody else was faster, or these are not the only ones or not dead."""
        epoch = max(dead, default=0) + 1
        if epoch > LAST_EPOCH:  # nobody who counts came that far
            for other in dead:
                discard(self._files, lease_path(other))
            return None
        lease = Lease(self._files, epoch, self._holder, ttl=self._ttl, clock=self._clock)
        try:
            handle = self._files.create(lease_path(epoch))
        except (AlreadyThere, NotThere):
            return None
        try:
            if self._held(but=epoch) != dead:
                discard(self._files, lease_path(epoch))
                return None
            for other in epochs(self._files):  # first, since a full volume may have no other room for ours
                if other != epoch:
                    discard(self._files, lease_path(other))
            self._files.write(handle, 0, render_lease(self._holder, 0))
            self._files.sync(handle)
            _take_partials(self._files, self._holder.token)
            lease.in_order = self._files.writes_in_order(f"{WORK}/probe.{self._holder.token}")
        except NoSpace:
            discard(self._files, lease_path(epoch))
            raise
        finally:
            self._files.close(handle)
        return lease


def _make_work_folder(files: FileOperations) -> None:
    """Make `.downloading`; what stands in its place instead of a folder is not worth keeping under that name."""
    try:
        made = files.make_folder(WORK)
    except InTheWay:
        files.unlink(WORK)
        made = files.make_folder(WORK)
    if made:
        files.sync_folder("")
    for name, kind in files.scan(WORK).items():
        if is_lease(name) and kind is not Kind.FILE:
            remove(files, f"{WORK}/{name}", kind)


def _take_partials(files: FileOperations, token: str) -> None:
    """Rename every folder of partials to ours: their former owners find nothing there any more."""
    own = parts_path(token)
    for name, kind in files.scan(WORK).items():
        folder = f"{WORK}/{name}"
        if not name.startswith(PARTS) or folder == own:
            continue
        if kind is not Kind.FOLDER:
            discard(files, folder)
        elif files.stat(own) is None:
            files.rename(folder, own)
        else:
            _merge(files, folder, own)
    files.make_folder(own)
    files.sync_folder(WORK)


def _merge(files: FileOperations, folder: str, own: str) -> None:
    """Two folders are there if a takeover died half-way: keep each partial once."""
    for name, kind in files.scan(folder).items():
        if kind is Kind.FILE and files.stat(f"{own}/{name}") is None:
            files.rename(f"{folder}/{name}", f"{own}/{name}")
    remove(files, folder, Kind.FOLDER)
