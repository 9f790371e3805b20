"""Acquires the lease of a volume: waits while its holder is alive, and takes over when it is dead.

The protocol, and why it needs neither flock nor comparable clocks, is in `lease.py`.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.deadlines import LEASE_POLL
from downloader.errors import NoSpace, VolumeError
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

    from downloader.errors import LeaseLost

_POLLS = 12
"""Readings of another process's lease per time to live."""
_MAX_URI_LENGTH = 1000
_MAX_LEASES = 16
"""Leases that are read. There are two at most, unless takeovers were killed: each leaves one beside the dead one."""


class LeaseAcquirer:
    """Acquires the lease of one volume, once.

    A lease must be seen unchanged for `ttl` seconds before its holder counts as dead. Before each `sleep`, `waiting` is
    called with the holder and the seconds for which its lease has not changed; both may raise to end the wait.
    `make_room` is called when the volume is too full for a lease, and returns whether it freed anything; `on_lost` in
    another thread when the heartbeat of the lease finds that another process took over.
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
        on_lost: Callable[[LeaseLost], None],
    ) -> None:
        self._files = files
        self._ttl = ttl
        self._clock = clock
        self._sleep = sleep
        self._waiting = waiting
        self._make_room = make_room
        self._on_lost = on_lost
        self._holder = Holder(new_token(), ProcessIdentity.current(), single_line(uri, _MAX_URI_LENGTH))
        self._watched: dict[int, tuple[bytes, float]] = {}
        """Epoch → content of the lease when it was last read, and the seconds for which that has not changed."""
        self._last_reading = clock()
        self._poll = min(LEASE_POLL, ttl / _POLLS)

    def acquire(self, unless: Callable[[], bool] = lambda: False) -> Lease | None:
        """Return the lease once it is ours, with its heartbeat running. Raises NoSpace, and what `sleep` raises.

        Without a living holder, `unless` says whether the lease is not needed any more; then None is returned.
        """
        try:
            return self._acquire(unless)
        except NoSpace:
            if not self._make_room():
                raise
            return self._acquire(unless)

    def living(self) -> str:
        """Return the holder of a living lease; empty without one. Changes nothing.

        That takes until its next heartbeat, or `ttl` where a dead holder cannot be told from a living one.
        """
        seen = False
        while (alive := self._alive(self._held())) is not None:
            holder, quiet = alive
            if seen and not quiet:  # it has changed since it was read
                return holder
            seen = True
            self._waiting(holder, quiet)
            self._sleep(self._poll)
        return ""

    def _acquire(self, unless: Callable[[], bool]) -> Lease | None:
        while True:
            try:
                _make_work_folder(self._files)
            except VolumeError:  # a volume that this process cannot change will do if nothing has to be changed
                if unless():
                    return None
                raise
            held = self._held()
            alive = self._alive(held)
            if alive is not None:
                self._waiting(*alive)
                self._sleep(self._poll)
                continue
            if unless():
                return None
            lease = self._take(held)
            if lease is not None:
                lease.start()
                return lease
            self._sleep(self._poll * random.random())  # noqa: S311 -- two processes that wait must not stay in step

    def _held(self, but: int = -1) -> dict[int, bytes]:
        """Return epoch → content of each lease but one; of the newest ones only, if there are absurdly many."""
        newest = [epoch for epoch in epochs(self._files) if epoch != but][-_MAX_LEASES:]
        found = {epoch: read_lease(self._files, lease_path(epoch)) for epoch in newest}
        return {epoch: content for epoch, content in found.items() if content is not None}

    def _alive(self, held: dict[int, bytes]) -> tuple[str, float] | None:
        """Return the holder of a living lease and the seconds for which it has not changed; None if all are dead."""
        # Only the time between two of our own readings counts, on our own clock: no clock is compared with another
        # machine's. If the volume did not answer us, or this machine slept, the holder could not be seen either, so
        # such a gap counts for no more than two polls.
        now = self._clock()
        passed = min(now - self._last_reading, 2 * self._poll)
        self._last_reading = now
        watched, self._watched = self._watched, {}
        alive = None
        for epoch, content in held.items():
            before, quiet = watched.get(epoch, (None, 0.0))
            quiet = quiet + passed if before == content else 0.0  # a first reading proves nothing
            self._watched[epoch] = content, quiet
            holder = parse_lease(content)
            # A holder that certainly no longer runs on this machine need not be waited for.
            if quiet < self._ttl and not (holder is not None and holder.process.is_gone()):
                alive = str(holder or "a process that has not said who it is"), quiet
        return alive

    def _take(self, dead: dict[int, bytes]) -> Lease | None:
        """Create the next lease; None if another process was faster, or if `dead` are no longer the only leases."""
        epoch = max(dead, default=0) + 1
        if epoch > LAST_EPOCH:  # no run counts that far: the file was planted
            for other in dead:
                discard(self._files, lease_path(other))
            return None
        holder = replace(self._holder, since=int(time.time()))
        lease = Lease(self._files, epoch, holder, ttl=self._ttl, clock=self._clock, on_lost=self._on_lost)
        try:
            handle = self._files.create(lease_path(epoch))  # exclusive: exactly one process creates each epoch
        except (AlreadyThere, NotThere):
            return None
        try:
            # Read again after creating: a dead lease may have been taken over and released since it was read, and its
            # epoch may by now be that of a living one. Our own lease is still empty, which makes no holder give up.
            if self._held(but=epoch) != dead:
                discard(self._files, lease_path(epoch))
                return None
            for other in epochs(self._files):  # before ours is written: a full volume may have no other space
                if other != epoch:
                    discard(self._files, lease_path(other))
            self._files.write(handle, 0, render_lease(holder, 0))
            self._files.sync(handle)
            # The fence. From here on a holder that was only frozen finds none of its paths: see `_take_partials`.
            _take_partials(self._files, self._holder.token)
            lease.in_order = self._files.writes_in_order(f"{WORK}/probe.{self._holder.token}")
        except NoSpace:
            discard(self._files, lease_path(epoch))
            raise
        finally:
            self._files.close(handle)
        return lease


def _make_work_folder(files: FileOperations) -> None:
    """Make `.downloading`. Anything else of that name is removed, and so is a folder in the place of a lease."""
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
    """Rename every folder of partials to ours, so that their former holders no longer find anything there.

    A commit renames out of the holder's own folder, so after this a frozen holder cannot commit. A handle that it has
    open still works: it can finish a write into a partial, whose digest is verified before the commit.
    """
    own = parts_path(token)
    for name, kind in files.scan(WORK).items():
        folder = f"{WORK}/{name}"
        if not name.startswith(PARTS) or folder == own:
            continue
        if kind is not Kind.FOLDER:
            discard(files, folder)
        else:
            with suppress(NotThere):  # a listing may show it although another process has taken it and ended
                _take_folder(files, folder, own)
    files.make_folder(own)
    files.sync_folder(WORK)


def _take_folder(files: FileOperations, folder: str, own: str) -> None:
    if files.stat(own) is None:
        files.rename(folder, own)
    else:
        _merge(files, folder, own)


def _merge(files: FileOperations, folder: str, own: str) -> None:
    """Move the partials of a second folder, which a killed takeover has left, keeping one of each name."""
    for name, kind in files.scan(folder).items():
        if kind is Kind.FILE and files.stat(f"{own}/{name}") is None:
            files.rename(f"{folder}/{name}", f"{own}/{name}")
    remove(files, folder, Kind.FOLDER)
