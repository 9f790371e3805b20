"""Identifies a process so exactly that a dead one is recognized on the machine where it ran."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_START_TIME = 19
"""The field of /proc/PID/stat with the start time, counted from the state, which follows the name in parentheses."""
_ENDED = ("Z", "X", "x")
_MAX_NUMBER = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process among those of all machines. A part that is unknown is empty or 0."""

    host: str
    boot: str
    """The kernel's boot id, a new one after each boot, and the time namespace, in whose clock `started` is."""
    namespace: int
    """The inode of the pid namespace: containers on one machine have different ones."""
    pid: int
    started: str
    """The kernel's start time of the process: distinguishes processes that had the same pid."""

    @classmethod
    def current(cls) -> ProcessIdentity:
        """Return the identity of the calling process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _boot(), _namespace(), pid, _start_time(pid) or "")

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> ProcessIdentity:
        """Return the process that `fields` describe. Raises KeyError, TypeError or ValueError for other fields."""
        host, boot, started = str(fields["host"]), str(fields["boot"]), str(fields["started"])
        return cls(host, boot, _number(fields["namespace"]), _number(fields["pid"]), started)

    def fields(self) -> dict[str, Any]:
        """Return what `parse` reads."""
        return asdict(self)

    def is_gone(self) -> bool:
        """Return whether the process has certainly ended; False where that cannot be seen from here.

        The host's name counts too: clones of one virtual machine share a boot id and may share namespace numbers.
        """
        here = (socket.gethostname(), _boot(), _namespace())
        if not self.boot or not self.namespace or not self.started or here != (self.host, self.boot, self.namespace):
            return False
        return _start_time(self.pid) != self.started and not _is_hidden(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _number(field: object) -> int:
    """Return a number if the kernel could have given it. JSON has others, such as Infinity."""
    if not isinstance(field, int) or not 0 <= field <= _MAX_NUMBER:
        raise ValueError(f"{str(field)[:20]!r} is not a number that the kernel gives")
    return field


def _boot() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    try:
        return f"{boot}.{(_PROC / 'self/ns/time').stat().st_ino}"
    except OSError:  # before Linux 5.6 there is but one
        return boot


def _namespace() -> int:
    try:
        return (_PROC / "self/ns/pid").stat().st_ino
    except OSError:
        return 0


def _is_hidden(pid: int) -> bool:
    """Return whether a process runs that /proc does not show, as on systems that hide those of other users."""
    if (_PROC / str(pid)).exists():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _start_time(pid: int) -> str | None:
    """Return the start time of a running process; None if it does not exist or is a zombie."""
    try:
        after_name = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if after_name[0] in _ENDED else after_name[_START_TIME]
    except (OSError, IndexError):
        return None
