"""The command over a volume as NFS 4 shows it to each machine: `python -m tests.close_to_open SECONDS COMMAND…`.

Each process is a machine of its own. What it has read or written it keeps, and shows again; a read takes more than was
asked for. What it writes, the others can read once it has synced or closed the file, or written more of it. An open
drops what it keeps if another machine has changed the file, but a change that comes before one of its own is taken for
its own: NFS 4 does not tell them apart. Listings, names that were not there, and attributes of files that this machine
neither opens nor changes stay as they were for so many seconds. Nothing tells it that a process of another has ended.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from downloader.__main__ import main
from downloader.filesystem import NotThere
from downloader.filesystem.local import Disk
from downloader.lease import ProcessIdentity
from downloader.runs import wiring

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.filesystem import Kind, Stat

BLOCK = 4096
AHEAD = 1 << 20
"""Bytes that are read in addition to those asked for."""


class Cached:
    """What one machine keeps of one file."""

    def __init__(self) -> None:
        self.blocks: dict[int, bytes] = {}
        self.unsent: list[tuple[int, bytes]] = []
        self.change: tuple[int, ...] = ()

    def put(self, offset: int, data: bytes, handle: int) -> None:
        """Keep written bytes; the rest of the blocks at their ends comes from the volume."""
        start, stop = offset // BLOCK * BLOCK, -(-(offset + len(data)) // BLOCK) * BLOCK
        first, last = self.block(start, handle), self.block(stop - BLOCK, handle)
        whole = first[: offset - start] + data
        whole += last.ljust(BLOCK, b"\0")[BLOCK - (stop - offset - len(data)) :] if stop > offset + len(data) else b""
        for place in range(0, len(whole), BLOCK):
            self.blocks[start + place] = whole[place : place + BLOCK]

    def block(self, start: int, handle: int) -> bytes:
        if start not in self.blocks:
            self.blocks[start] = os.pread(handle, BLOCK, start)
        return self.blocks[start]


class CloseToOpen(Disk):
    """A disk with a cache that no other process sees into."""

    def __init__(self, target: Path, *, create: bool = True, seconds: float) -> None:
        super().__init__(target, create=create)
        self._seconds = seconds
        self._lock = threading.RLock()
        self._kept: dict[tuple[int, int], Cached] = {}
        self._of: dict[int, tuple[Cached, bool]] = {}
        """Handle → what is kept of its file, and whether its reads take more than was asked for."""
        self._shown: dict[str, tuple[float, dict[str, Kind]]] = {}
        self._absent: dict[str, float] = {}
        self._stats: dict[str, tuple[float, Stat | None]] = {}

    @property
    def is_local(self) -> bool:
        return False

    def _take(self, handle: int) -> int:
        found = os.fstat(handle)
        with self._lock:
            kept = self._kept.setdefault((found.st_dev, found.st_ino), Cached())
            if kept.change != (change := _change(handle)):
                self._send(kept, handle)
                kept.blocks.clear()
                kept.change = change
            self._of[handle] = kept, True
        return handle

    def _send(self, kept: Cached, handle: int) -> None:
        unsent, kept.unsent = kept.unsent, []
        if not unsent:
            return
        writable = os.open(f"/proc/self/fd/{handle}", os.O_WRONLY)
        for offset, data in unsent:
            os.pwrite(writable, data, offset)
        kept.change = _change(writable)  # including what others have changed meanwhile
        os.close(writable)

    def create(self, path: str) -> int:
        handle = self._take(super().create(path))
        self._know(path)
        return handle

    def open(self, path: str, *, write: bool = False) -> int:
        self._stats.pop(path, None)
        if time.monotonic() < self._absent.get(path, 0):
            raise NotThere(f"{path} was not there")
        try:
            return self._take(super().open(path, write=write))
        except NotThere:
            self._absent[path] = time.monotonic() + self._seconds
            raise

    def open_direct(self, path: str) -> None:
        del path

    def close(self, handle: int) -> None:
        with self._lock:
            kept, _ = self._of.pop(handle)
            self._send(kept, handle)
        super().close(handle)

    def write(self, handle: int, offset: int, data: memoryview | bytes) -> None:
        with self._lock:
            kept, _ = self._of[handle]
            if not len(data):
                return
            self._send(kept, handle)  # the machine may write back what it has whenever it likes
            kept.put(offset, bytes(data), handle)
            kept.unsent.append((offset, bytes(data)))

    def read(self, handle: int, offset: int, view: memoryview) -> int:
        with self._lock:
            kept, ahead = self._of[handle]
            stop = max([os.fstat(handle).st_size, *(start + len(data) for start, data in kept.unsent)])
            count = max(0, min(len(view), stop - offset))
            first = offset // BLOCK * BLOCK
            for start in range(first, min(stop, offset + count + (AHEAD if ahead else 0)), BLOCK):
                kept.block(start, handle)
            blocks = range(first, offset + count, BLOCK)
            found = b"".join(kept.blocks[start].ljust(BLOCK, b"\0") for start in blocks)[offset - first :][:count]
            view[:count] = found
            return count

    def sync(self, handle: int) -> None:
        with self._lock:
            self._send(self._of[handle][0], handle)
        super().sync(handle)

    def sync_everything(self) -> bool:
        return False

    def forget(self, handle: int, offset: int = 0, length: int = 0) -> None:
        if not self.keeps_pages:
            self._drop(handle, offset, length)

    def reread(self, handle: int, offset: int = 0, length: int = 0) -> None:
        with self._lock:
            self._of[handle] = self._of[handle][0], False
            self._drop(handle, offset, length)

    def _drop(self, handle: int, offset: int, length: int) -> None:
        with self._lock:
            kept, _ = self._of[handle]
            unsent = {
                start
                for place, data in kept.unsent
                for start in range(place // BLOCK * BLOCK, place + len(data), BLOCK)
            }
            stop = offset + length if length else sys.maxsize
            for start in list(kept.blocks):
                if offset <= start and start + BLOCK <= -(-stop // BLOCK) * BLOCK and start not in unsent:
                    del kept.blocks[start]

    def truncate(self, handle: int, size: int) -> None:
        with self._lock:
            super().truncate(handle, size)
            self._of[handle][0].change = _change(handle)

    def scan(self, folder: str) -> dict[str, Kind]:
        until, shown = self._shown.get(folder, (0.0, {}))
        if time.monotonic() >= until:
            shown = super().scan(folder)
            self._shown[folder] = time.monotonic() + self._seconds, shown
        return dict(shown)

    def stat(self, path: str) -> Stat | None:
        until, found = self._stats.get(path, (0.0, None))
        if time.monotonic() >= until:
            found = super().stat(path)
            self._stats[path] = time.monotonic() + self._seconds, found
        return found

    def stats(self, folder: str, names: list[str]) -> dict[str, Stat]:
        found = {name: self.stat(f"{folder}/{name}".lstrip("/")) for name in names}
        return {name: there for name, there in found.items() if there is not None}

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        self._know(old)
        self._know(new)

    def exchange(self, one: str, other: str) -> bool:
        done = super().exchange(one, other)
        self._know(one)
        self._know(other)
        return done

    def set_attribute(self, path: str, name: str, value: bytes) -> bool:
        self._stats.pop(path, None)
        return super().set_attribute(path, name, value)

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self._know(path)

    def remove_folder(self, path: str) -> None:
        super().remove_folder(path)
        self._know(path)

    def make_folder(self, path: str) -> bool:
        made = super().make_folder(path)
        self._know(path)
        return made

    def _know(self, path: str) -> None:
        """Drop what was kept of a name that this machine has changed, and of all below it."""
        self._absent = {name: until for name, until in self._absent.items() if not f"{name}/".startswith(f"{path}/")}
        self._stats = {name: kept for name, kept in self._stats.items() if not f"{name}/".startswith(f"{path}/")}
        above = path.rpartition("/")[0]
        self._shown = {
            name: shown
            for name, shown in self._shown.items()
            if name != above and not f"{name}/".startswith(f"{path}/")
        }


def _change(handle: int) -> tuple[int, ...]:
    found = os.fstat(handle)
    return found.st_ctime_ns, found.st_size


if __name__ == "__main__":
    vars(wiring)["Disk"] = functools.partial(CloseToOpen, seconds=float(sys.argv[1]))
    ProcessIdentity.is_gone = lambda self: False  # type: ignore[method-assign] # noqa: ARG005
    del sys.argv[1]
    main()
