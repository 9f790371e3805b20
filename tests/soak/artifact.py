"""What the soak downloads: large, middling, small and empty files, all of them noise."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from tests.command import run
from tests.servers.blobs import Noise

MIB = 1 << 20
MARKER = ".artifact.sha256"
COMPLETION = "user.aim.completion"
WORK = ".downloading"
SPOILED = "model-00003-of-00003.safetensors"
"""The file in which bytes come wrong: it is fetched again, as a whole."""
SIZES = {
    "model-00001-of-00003.safetensors": 240 * MIB,
    "model-00002-of-00003.safetensors": 24 * MIB + 12_345,
    SPOILED: 20 * MIB + 1,
    "tokenizer/tokenizer.json": 3 * MIB,
    "config.json": 700,
    ".hidden/notes.txt": 41,
    "empty.txt": 0,
}
"""The first is so large that a product which resumed nothing would break the bound on what is served."""


class Artifact:
    """The files, and how to tell that a folder has them."""

    def __init__(self) -> None:
        self.files = {path: Noise(size, seed).bytes() for seed, (path, size) in enumerate(SIZES.items(), start=100)}
        self.digests = {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}
        self.size = sum(map(len, self.files.values()))

    @property
    def checksums(self) -> bytes:
        """Return the list that a web server's folder needs."""
        return "".join(line + "\n" for line in self._lines).encode()

    @property
    def _lines(self) -> list[str]:
        return [f"{digest}  {path}" for path, digest in sorted(self.digests.items())]

    def is_listed(self, mark: str) -> bool:
        """Return whether a completion mark lists exactly these files."""
        return sorted(self._lists(mark)) == sorted(self._lines)

    @staticmethod
    def _lists(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("#")]

    def wrong_names(self, folder: Path) -> list[str]:
        """Return what has a final name in an unfinished folder and must not have it: it is wrong, or not ours."""
        return [
            path
            for path in _files(folder)
            if not path.startswith(f"{WORK}/") and path != MARKER and not self._is_right(folder, path)
        ]

    def faults_of(self, folder: Path) -> list[str]:
        """Return what is wrong with a folder that should be complete: a line for each thing, none if all is right."""
        found = _files(folder)
        listed = run("checksums", folder)
        # In the operator's s3:// Jobs the completion mark is in extended attributes, else in a file.
        expected = {*self.files, *([] if COMPLETION in os.listxattr(folder) else [MARKER])}
        lines = [f"{path} is missing" for path in expected.difference(found)]
        lines += [f"{path} is left over" for path in found if path not in expected]
        lines += [f"{path} is wrong" for path in found if path in self.files and not self._is_right(folder, path)]
        if self._lists(listed.stdout) != self._lines:
            lines.append(f"the checksums are others: {listed.stdout}{listed.stderr}")
        if (folder / WORK).exists():
            lines.append(f"{WORK} is left over, with {[path for path in found if path.startswith(WORK)]}")
        return lines

    def _is_right(self, folder: Path, path: str) -> bool:
        if path not in self.files or not stat.S_ISREG((folder / path).lstat().st_mode):
            return False
        with (folder / path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.digests[path]


def _files(folder: Path) -> list[str]:
    found = []
    for place, folders, names in os.walk(folder):  # which passes over a folder that is removed meanwhile
        found += [Path(place, name) for name in (*names, *(one for one in folders if Path(place, one).is_symlink()))]
    return sorted(str(path.relative_to(folder)) for path in found)
