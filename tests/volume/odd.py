"""Folders that behave like volumes of other systems: names that differ in case or form are one, or are refused."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING
from unicodedata import normalize

from downloader.errors import VolumeError
from downloader.filesystem.local import Disk
from downloader.filesystem.operations import map_os_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from downloader.filesystem.interface import Stat


class SpellingDisk(Disk):
    """A disk that takes a name for one that is there, if both have the same `key`; `refuses` raises for names."""

    def __init__(self, target: Path, key: Callable[[str], str], refuses: Callable[[str], int] = lambda _: 0) -> None:
        super().__init__(target)
        self._target = target
        self._key = key
        self._refuses = refuses

    def _there(self, path: str) -> str:
        """Return the path as the names in it are spelt here."""
        spelt: list[str] = []
        for part in path.split("/") if path else ():
            if number := self._refuses(part):
                raise map_os_error(OSError(number, os.strerror(number)), f"creating {self._target}/{path}")
            folder = self._target.joinpath(*spelt)
            known = {self._key(found.name): found.name for found in folder.iterdir()} if folder.is_dir() else {}
            spelt.append(known.get(self._key(part), part))
        return "/".join(spelt)

    def create(self, path: str) -> int:
        return super().create(self._there(path))

    def open(self, path: str, *, write: bool = False) -> int:
        return super().open(self._there(path), write=write)

    def stat(self, path: str) -> Stat | None:
        try:
            return super().stat(self._there(path))
        except VolumeError:
            return None  # no file can have such a name

    def stats(self, folder: str, names: list[str]) -> dict[str, Stat]:
        found = {name: self.stat(f"{folder}/{name}".lstrip("/")) for name in names}
        return {name: details for name, details in found.items() if details is not None}

    def rename(self, old: str, new: str) -> None:
        super().rename(self._there(old), self._there(new))

    def make_folder(self, path: str) -> bool:
        return super().make_folder(self._there(path))

    def unlink(self, path: str) -> None:
        super().unlink(self._there(path))


def folding(target: Path) -> SpellingDisk:
    """Return a folder as SMB or FAT would have it."""
    return SpellingDisk(target, str.casefold)


def normalizing(target: Path) -> SpellingDisk:
    """Return a folder as ZFS with normalization has it: case is told apart, forms of Unicode are not."""
    return SpellingDisk(target, lambda name: normalize("NFC", name))


def refusing(target: Path) -> SpellingDisk:
    """Return a folder that refuses what Windows refuses, and long names as eCryptfs does."""

    def number(name: str) -> int:
        if len(name.encode()) > 143:
            return errno.ENAMETOOLONG
        return errno.EINVAL if set(name) & set(':?*"<>|') or name[-1] in ". " else 0

    return SpellingDisk(target, lambda name: name, number)
