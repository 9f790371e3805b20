"""How far files are that are hashed on the volume."""

from __future__ import annotations

import threading
from dataclasses import replace

from downloader.progress.snapshot import FileProgress


class HashingProgress:
    """The files that are being hashed: one for each thread."""

    def __init__(self) -> None:
        self._files: dict[int, FileProgress] = {}

    def begin(self, path: str, size: int) -> None:
        """Record that the calling thread begins a file of `size` bytes."""
        self._files[threading.get_ident()] = FileProgress(path, 0, size)

    def add(self, count: int) -> None:
        """Count bytes that the calling thread has hashed."""
        file = self._files[threading.get_ident()]
        self._files[threading.get_ident()] = replace(file, done_bytes=file.done_bytes + count)

    def progress(self) -> tuple[FileProgress, ...]:
        """Return the files that are not hashed to their end."""
        return tuple(file for file in list(self._files.values()) if file.done_bytes < (file.size or 0))
