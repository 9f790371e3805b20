"""Who reads adapters: a pod that has mounted the service's folder, and lists it in a tight loop."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Self

from downloader.deadlines import TRASH_GRACE

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("adapter_config.json", "adapter_model.safetensors", "extra.json")


def versioned(version: int) -> dict[str, bytes]:
    """Return an adapter whose every file says which version it is of."""
    return {name: b"%d\n" % version * (1 + 1000 * place) for place, name in enumerate(NAMES)}


def names_in(folder: int) -> list[str]:
    """Return what is in an open folder."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


class Reader:
    """A context in which a service's folder is read all the time. It is opened once, as a mount is."""

    def __init__(self, service: Path) -> None:
        self.versions: dict[str, list[int]] = {}
        """Which versions of each adapter were seen, in order, without repetitions."""
        self.absent: dict[str, float] = {}
        """For how many seconds at most an adapter was not there that had been there."""
        self.looks = 0
        self.wrong: list[str] = []
        self._mount = os.open(service, os.O_RDONLY | os.O_DIRECTORY)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._mount)

    def _read(self) -> None:
        missing_since: dict[str, float] = {}
        last = False
        while not last:
            last = self._stop.is_set()
            self.looks += 1
            there = names_in(self._mount)
            now = time.monotonic()
            for adapter in self.versions:
                if adapter in there:
                    missing_since.pop(adapter, None)
                else:
                    gone = now - missing_since.setdefault(adapter, now)
                    self.absent[adapter] = max(gone, self.absent.get(adapter, 0.0))
            for adapter in there:
                self._look_at(adapter)

    def _look_at(self, adapter: str) -> None:
        began = time.monotonic()
        try:
            folder = os.open(adapter, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._mount)
        except FileNotFoundError:
            return
        wrong = ""
        try:
            names = sorted(name for name in names_in(folder) if name != ".artifact.sha256")
            contents = {name: self._content(folder, name) for name in names}
            version = int(contents.get(NAMES[0], b"0\n").split(b"\n")[0])
            if contents != versioned(version):
                wrong = f"{adapter}: {names} of version {version}"
        except OSError as error:
            wrong = f"{adapter}: {error}"
        finally:
            os.close(folder)
        if wrong:
            # Who has opened an adapter is promised a moment to read it, and a busy machine may take longer.
            if time.monotonic() - began < TRASH_GRACE:
                self.wrong.append(wrong)
            return
        seen = self.versions.setdefault(adapter, [])
        if not seen or seen[-1] != version:
            seen.append(version)

    @staticmethod
    def _content(folder: int, name: str) -> bytes:
        with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=folder), "rb") as file:
            return file.read()
