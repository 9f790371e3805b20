"""Operations under way: each is seen while it lasts, so that a volume which does not answer can be named."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Self

from downloader.errors import NoSpace, VolumeError
from downloader.filesystem.interface import AlreadyThere, InTheWay, NotSupported, NotThere

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from downloader.errors import DownloadError


class Operations:
    """Those of one folder, at most one per thread.

    `fault` is called with what is about to be done, inside the operation; it may sleep or raise OSError.
    `lacks_inodes` tells which of its two kinds of room a full volume is out of.
    """

    def __init__(self, name: str, fault: Callable[[str], None] | None, lacks_inodes: Callable[[], bool]) -> None:
        self.name = name
        self.fault = fault
        self.lacks_inodes = lacks_inodes
        self.running: dict[int, Operation] = {}

    def __call__(self, verb: str, path: str = "") -> Operation:
        """Return the operation as a context whose OSError comes out as one of our errors."""
        return Operation(self, verb, path)

    def oldest(self) -> tuple[str, float] | None:
        """Return what has lasted longest and its seconds."""
        running = list(self.running.values())
        if not running:
            return None
        oldest = min(running, key=lambda operation: operation.since)
        return oldest.doing, time.monotonic() - oldest.since


class Operation:
    """One call into the kernel."""

    __slots__ = ("_operations", "_path", "_thread", "_verb", "since")

    def __init__(self, operations: Operations, verb: str, path: str) -> None:
        self._operations = operations
        self._verb = verb
        self._path = path
        self._thread = threading.get_ident()
        self.since = 0.0
        """When it began."""

    @property
    def doing(self) -> str:
        """What it does, for people."""
        where = f"{self._verb} {self._operations.name}"
        return f"{where}/{self._path}" if self._path else where

    def __enter__(self) -> Self:
        self.since = time.monotonic()
        self._operations.running[self._thread] = self
        if self._operations.fault is not None:
            try:
                self._operations.fault(self.doing)
            except BaseException as error:
                self.__exit__(type(error), error, None)
                raise
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._operations.running.pop(self._thread, None)
        if error is not None and isinstance(error, OSError):
            no_inodes = error.errno == errno.ENOSPC and self._operations.lacks_inodes()
            raise translate(error, self.doing, no_inodes=no_inodes) from error


_FAILING = "the storage behind the volume fails: see the node's kernel log and the storage system"
_HINTS = {
    errno.EROFS: "the volume is mounted read-only",
    errno.EIO: _FAILING,
    errno.ENXIO: _FAILING,
    errno.ENODEV: _FAILING,
    getattr(errno, "EREMOTEIO", errno.EIO): _FAILING,  # Linux alone has it
    errno.ETIMEDOUT: _FAILING,
    errno.ESTALE: "the server lost the folder: was the volume remounted or restored?",
    errno.EMFILE: "raise the limit of open files",
    errno.ENFILE: "the node has too many open files",
    errno.ENAMETOOLONG: "the volume's file system does not allow a name of this length",
    errno.EFBIG: "the volume's file system does not allow a file of this size",
    errno.EINVAL: "the volume's file system does not allow this name or operation",
    errno.EILSEQ: "the volume's file system does not allow this name",
}
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.ESPIPE, errno.EINVAL})
"""What file systems answer that lack an operation."""
_OBJECT_STORE = "as mounts of object stores do: use a file system, or download elsewhere and copy"
_LACKING = {
    "renaming to": f"the volume may be one that cannot rename, {_OBJECT_STORE}",
    "sizing a file of": f"the volume takes writes only in order, {_OBJECT_STORE}",
    "writing to": f"the volume takes writes only in order, {_OBJECT_STORE}",
}
"""What a refusal of these operations means, whoever may write there."""
_CLASSES: dict[int, type[VolumeError]] = {
    errno.ENOENT: NotThere,
    errno.EEXIST: AlreadyThere,
    errno.ENOTEMPTY: AlreadyThere,
    errno.ENOTDIR: InTheWay,
    errno.EISDIR: InTheWay,
    errno.ELOOP: InTheWay,
}


def translate(error: OSError, doing: str, *, no_inodes: bool = False) -> DownloadError:
    """Return our error for one that came while `doing` something, for example `creating /cache/a.bin`.

    `no_inodes` says that a full volume lacks inodes rather than bytes.
    """
    number = error.errno or 0
    reason = os.strerror(number) if number else str(error)
    if number == errno.ENOSPC and no_inodes:
        return NoSpace(f"no space left on device while {doing}: all inodes are used", hint="remove files from it")
    if number == errno.ENOSPC:
        return NoSpace(f"no space left on device while {doing}", hint="free or add space, then run again")
    if number == errno.EDQUOT:
        return NoSpace(f"disk quota exceeded while {doing}", hint="raise the quota, then run again")
    hint = _HINTS.get(number, "")
    if number in (errno.EACCES, errno.EPERM):
        hint = f"the volume must be writable for user {os.geteuid()}, group {os.getegid()} (fsGroup in Kubernetes)"
    lacking = next((lack for verb, lack in _LACKING.items() if doing.startswith(verb)), "")
    if lacking and (number in _UNSUPPORTED or (number == errno.EPERM and not doing.startswith("renaming"))):
        return NotSupported(f"{reason} while {doing}", hint=lacking)
    return _CLASSES.get(number, VolumeError)(f"{reason} while {doing}", hint=hint)
