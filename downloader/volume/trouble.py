"""What the operating system refuses, in our words: the one place where an OSError of the volume becomes ours."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from downloader.errors import NoSpace, VolumeError
from downloader.volume.files import AlreadyThere, InTheWay, NotSupported, NotThere

if TYPE_CHECKING:
    from downloader.errors import DownloadError

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
