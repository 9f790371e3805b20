"""The termination message: the line that Kubernetes shows as the reason why a container ended."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from downloader.config.job import TERMINATION_LOG
from downloader.formatting import format_count, format_duration, format_size, single_line

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.progress import Snapshot
    from downloader.redaction import Redactor

LIMIT: Final = 1024
"""Bytes."""


def sentence(uri: str, snapshot: Snapshot, *, seconds: float, exit_status: int, reason: str = "") -> str:
    """Return how a run of `seconds` ended, and what it had downloaded; a failure has a `reason`."""
    outcome = f"failed (exit status {exit_status})" if exit_status else "downloaded (exit status 0)"
    files, size = format_count(snapshot.total_files, "file"), format_size(snapshot.total_bytes)
    if snapshot.done_files != snapshot.total_files:
        files = f"{snapshot.done_files} of {files}"
    if snapshot.done_bytes != snapshot.total_bytes:
        size = f"{format_size(snapshot.done_bytes)} of {size}"
    facts = [files, size] if snapshot.total_files else ["not listed"]
    if snapshot.protocol:
        facts.append(snapshot.protocol)
    facts.append(format_duration(seconds))
    return ": ".join([outcome, *([reason] if reason else []), uri, ", ".join(facts)])


class TerminationMessage:
    """Writes the message to the file that the kubelet has created for it. Best effort: it does not raise."""

    def __init__(self, redactor: Redactor, path: Path = TERMINATION_LOG) -> None:
        self._redactor = redactor
        self._path = path

    def write(self, text: str) -> None:
        """Write text as one line of at most `LIMIT` bytes, if the file exists: only the kubelet creates it."""
        line = single_line(self._redactor.redact(text)).encode()
        if len(line) > LIMIT:
            line = (line[: LIMIT - len("…".encode())].decode(errors="ignore") + "…").encode()
        with contextlib.suppress(OSError, ValueError):
            # Non-blocking, in case the path is a pipe.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "wb") as file:
                file.write(line)
