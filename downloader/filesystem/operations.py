"""File system calls in progress, so that a volume that does not respond can be reported, and their errors as ours."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from downloader.error_map import ErrorRow, map_error
from downloader.errors import NoSpace, VolumeError
from downloader.filesystem.interface import AlreadyThere, InTheWay, NotSupported, NotThere

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from downloader.errors import DownloadError


class Operations:
    """The calls on one folder, at most one per thread.

    `fault` is called with a description of each call before it is made; it may sleep or raise OSError. `lacks_inodes`
    says whether a full volume is out of inodes rather than of bytes, `is_lost` whether the whole folder is stale.
    """

    def __init__(
        self,
        name: str,
        fault: Callable[[str], None] | None,
        lacks_inodes: Callable[[], bool],
        is_lost: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self.fault = fault
        self.lacks_inodes = lacks_inodes
        self.is_lost = is_lost
        self.running: dict[int, Operation] = {}

    def __call__(self, verb: str, path: str = "") -> Operation:
        """Return a context for one call, which turns its OSError into one of our errors."""
        return Operation(self, verb, path)

    def is_removed(self, error: OSError) -> bool:
        """Return whether an error says that another node has removed a file or folder which this one still knew."""
        return error.errno == errno.ESTALE and not self.is_lost()

    def oldest(self) -> tuple[str, float] | None:
        """Return the call that has lasted longest, and for how many seconds. Never blocks."""
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
        """When it began: seconds on the monotonic clock."""

    @property
    def doing(self) -> str:
        """What it does, for messages."""
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
            if self._operations.is_removed(error):
                raise map_os_error(FileNotFoundError(errno.ENOENT, ""), self.doing) from error
            no_inodes = error.errno == errno.ENOSPC and self._operations.lacks_inodes()
            raise map_os_error(error, self.doing, no_inodes=no_inodes) from error


class _Failure(NamedTuple):
    """What the rows of the table look at."""

    number: int
    """The errno, 0 if the error has no number."""
    doing: str
    no_inodes: bool


def _number(*numbers: int) -> Callable[[_Failure], bool]:
    return lambda failure: failure.number in numbers


def _while(verbs: str | tuple[str, ...], *numbers: int) -> Callable[[_Failure], bool]:
    return lambda failure: failure.number in numbers and failure.doing.startswith(verbs)


_READS = ("opening", "looking at", "listing", "reading from")
"""How operations begin that only read."""
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ESPIPE, errno.EINVAL)
"""What file systems answer that lack an operation."""
_FAILURES: tuple[ErrorRow[_Failure, DownloadError], ...] = (
    # First what every run meets for thousands of files: asking whether one is there.
    ErrorRow(_number(errno.ENOENT), NotThere, "{reason} while {doing}"),
    ErrorRow(_number(errno.EEXIST, errno.ENOTEMPTY), AlreadyThere, "{reason} while {doing}"),
    ErrorRow(_number(errno.ENOTDIR, errno.EISDIR, errno.ELOOP), InTheWay, "{reason} while {doing}"),
    ErrorRow(
        lambda failure: failure.number == errno.ENOSPC and failure.no_inodes,
        NoSpace,
        "no space left on device while {doing}: all inodes are used",
        "remove files from it",
    ),
    ErrorRow(
        _number(errno.ENOSPC),
        NoSpace,
        "no space left on device while {doing}",
        "free or add space, then run again",
    ),
    ErrorRow(_number(errno.EDQUOT), NoSpace, "disk quota exceeded while {doing}", "raise the quota, then run again"),
    # Mounts of object stores refuse these operations to every user. They also answer EPERM to writes, but to a
    # rename that means a lack of permission.
    ErrorRow(
        _while("renaming to", *_UNSUPPORTED),
        NotSupported,
        "{reason} while {doing}",
        "the volume may be one that cannot rename, as mounts of object stores do: use a file system, or download"
        " elsewhere and copy",
    ),
    ErrorRow(
        _while(("sizing a file of", "writing to"), *_UNSUPPORTED, errno.EPERM),
        NotSupported,
        "{reason} while {doing}",
        "the volume takes writes only in order, as mounts of object stores do: use a file system, or download"
        " elsewhere and copy",
    ),
    ErrorRow(
        _while(_READS, errno.EACCES, errno.EPERM),
        VolumeError,
        "{reason} while {doing}",
        "it must be readable for user {user}, group {group}",
    ),
    ErrorRow(
        _number(errno.EACCES, errno.EPERM),
        VolumeError,
        "{reason} while {doing}",
        "the volume must be writable for user {user}, group {group} (fsGroup in Kubernetes)",
    ),
    *(
        ErrorRow(_number(*numbers), VolumeError, "{reason} while {doing}", hint)
        for numbers, hint in (
            ((errno.EROFS,), "the volume is mounted read-only"),
            (
                # EREMOTEIO is only on Linux.
                (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT, getattr(errno, "EREMOTEIO", errno.EIO)),
                "the storage behind the volume fails: see the node's kernel log and the storage system",
            ),
            ((errno.ESTALE,), "the server lost the folder: was the volume remounted or restored?"),
            ((errno.EMFILE,), "raise the limit of open files"),
            ((errno.ENFILE,), "the node has too many open files"),
            ((errno.ENAMETOOLONG,), "the volume's file system does not allow a name of this length"),
            ((errno.EFBIG,), "the volume's file system does not allow a file of this size"),
            ((errno.EINVAL,), "the volume's file system does not allow this name or operation"),
            ((errno.EILSEQ,), "the volume's file system does not allow this name"),
        )
    ),
)


def map_os_error(error: OSError, doing: str, *, no_inodes: bool = False) -> DownloadError:
    """Return our error for one that came while `doing` something, for example `creating /cache/a.bin`.

    `no_inodes` says that a full volume lacks inodes rather than bytes.
    """
    number = error.errno or 0
    reason = os.strerror(number) if number else str(error)
    failure = _Failure(number, doing, no_inodes)
    facts = {"reason": reason, "doing": doing, "user": os.geteuid(), "group": os.getegid()}
    return map_error(_FAILURES, failure, **facts) or VolumeError(f"{reason} while {doing}")
