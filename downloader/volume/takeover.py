"""Getting the lease of a volume: waiting while its holder lives, taking over when it does not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from downloader.errors import NoSpace
from downloader.volume.files import AlreadyThere, FileOperations, InTheWay, Kind, NotThere
from downloader.volume.lease import (
    PARTS,
    WORK,
    Holder,
    Lease,
    epochs,
    is_lease,
    lease_path,
    new_token,
    parse,
    parts_path,
    read,
    render,
)
from downloader.volume.process import Process
from downloader.volume.removal import discard, remove
from downloader.words import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

_POLLS = 12
"""Looks at somebody else's lease per time to live."""
_LONGEST_POLL = 2.0
_LONGEST_URI = 1000


class Contender:
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
        self._holder = Holder(new_token(), Process.current(), one_line(uri, _LONGEST_URI))
        self._watched = b""
        self._quiet = 0.0
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
            held = epochs(self._files)
            content = read(self._files, lease_path(held[-1])) if held else None
            holder = parse(content) if content is not None else None
            if content is not None and not self._is_dead(held[-1], content, holder):
                self._waiting(str(holder or "a process that has not said who it is"), self._quiet)
                self._sleep(self._poll)
                continue
            if content is not None or not held:
                lease = self._take(held[-1] + 1 if held else 1, held)
                if lease is not None:
                    lease.start()
                    return lease
            self._sleep(self._poll * random.random())  # noqa: S311 -- two contenders must not stay in step

    def _is_dead(self, epoch: int, content: bytes, holder: Holder | None) -> bool:
        now = self._clock()
        seen = b"%d %s" % (epoch, content)
        if seen == self._watched:
            self._quiet += min(now - self._looked, 2 * self._poll)
        else:
            self._watched, self._quiet = seen, 0.0
        self._looked = now
        return self._quiet >= self._ttl or (holder is not None and holder.process.is_gone())

    def _take(self, epoch: int, dead: list[int]) -> Lease | None:
        """Create the lease of that epoch; None if somebody else was faster or the dead one was not the only one."""
        lease = Lease(self._files, epoch, self._holder, ttl=self._ttl, clock=self._clock)
        try:
            handle = self._files.create(lease_path(epoch))
        except (AlreadyThere, NotThere):
            return None
        try:
            others = [other for other in epochs(self._files) if other != epoch]
            if others != dead:
                discard(self._files, lease_path(epoch))
                return None
            for other in dead:  # first, since a full volume may have no other room for ours
                discard(self._files, lease_path(other))
            self._files.write(handle, 0, render(self._holder, 0))
            self._files.sync(handle)
            _take_partials(self._files, self._holder.token)
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
