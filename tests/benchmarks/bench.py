"""Where a benchmark lives, the files that it fetches, and what it hands back."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from tests.benchmarks.measure import GIB, MIB, Case, compare
from tests.servers.blobs import Noise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.benchmarks.measure import Score, Tool
    from tests.servers.certificates import Authority

SMALL = 20 << 10
"""Bytes of a small file."""


FEW = 200
"""Small files for a warm-up."""


@dataclass(frozen=True)
class Files:
    """A folder below `web` that contains a checksum file."""

    name: str
    digests: Mapping[str, str]
    """Path → sha256."""
    size: int
    """Bytes altogether."""
    warm: Files | None = None
    """What a warm-up fetches, where the whole would take too long."""


@dataclass
class Outcome:
    """What a case found."""

    text: str
    """Markdown: tables and remarks."""
    values: dict[str, float] = field(default_factory=dict)
    """Measured values by name, for the targets."""


@dataclass(frozen=True)
class Bench:
    """One run of the benchmarks."""

    folder: Path
    """Takes everything, on the disk that is measured."""
    authority: Authority
    scale: float
    """Factor on sizes and numbers of files."""
    rounds: int
    """Counted rounds, after the warm-up."""
    long: bool
    """Also measure what takes many minutes."""
    say: Callable[[str], None]
    """Prints a line while a case goes on."""

    @property
    def web(self) -> Path:
        """What web servers serve."""
        return self.folder / "web"

    def compare(
        self,
        tools: Callable[[Files], Sequence[Tool]],
        files: Files,
        *,
        rounds: int = 0,
        folder: Path | None = None,
    ) -> dict[str, Score]:
        """Measure the tools with these files, by default with the rounds of the command line and on the disk."""
        case = Case(files.digests, tools(files))
        warm = Case(files.warm.digests, tools(files.warm)) if files.warm else None
        return compare(case, folder or self.folder, rounds or self.rounds, self.say, served=self.folder, warm=warm)

    def large(self, count: int, size: int) -> Files:
        """Return so many files of `size` scaled bytes, without any pattern."""
        scaled = int(size * self.scale)
        files = self._noise(f"{count}-of-{scaled}", {f"big-{number}.bin": scaled for number in range(count)})
        return replace(files, warm=self.large(count, size // 16)) if count * size > GIB else files

    def tensors(self, count: int, size: int, head: bytes) -> Files:
        """Return so many safetensors files with `size` bytes of tensors after `head`."""
        return self._noise(
            f"{count}-tensors-of-{size}", {f"model-{number}.safetensors": size for number in range(count)}, head
        )

    def small(self, count: int) -> Files:
        """Return that many small files, fewer on a smaller scale."""
        scaled = max(10, int(count * min(1.0, self.scale)))
        files = self._noise(f"{scaled}-small", {f"small-{number:06}.bin": SMALL for number in range(scaled)})
        return replace(files, warm=self.small(FEW)) if scaled > FEW else files

    def mixed(self) -> Files:
        """Return two large files and many small ones, as models have them."""
        large = {f"big-{number}.bin": int(512 * MIB * self.scale) for number in range(2)}
        return self._noise("mixed", large | {f"small-{number:03}.bin": SMALL for number in range(200)})

    def zeros(self, count: int, size: int) -> Files:
        """Return files that take no room: they read as zeros, and all have the same digest."""
        name = f"{count}-zeros-of-{size}"
        folder = self.web / name
        digests = dict.fromkeys((f"zeros-{number:06}.bin" for number in range(count)), _sha256_of_zeros(size))
        folder.mkdir(exist_ok=True)
        for path in digests:
            (folder / path).touch()
            os.truncate(folder / path, size)
        write_checksums(folder / "SHA256SUMS", digests)
        return Files(name, digests, count * size, self.zeros(1, SMALL) if size != SMALL or count > 1 else None)

    def _noise(self, name: str, sizes: Mapping[str, int], head: bytes = b"") -> Files:
        folder = self.web / name
        checksums = folder / "SHA256SUMS"
        if not checksums.exists():
            folder.mkdir()
            digests = {}
            for seed, (path, size) in enumerate(sizes.items(), start=1):
                digest = hashlib.sha256()
                with (folder / path).open("wb") as file:
                    for piece in chain([head], Noise(size, seed).pieces()):
                        digest.update(piece)
                        file.write(piece)
                digests[path] = digest.hexdigest()
            write_checksums(checksums, digests)
            os.sync()
        lines = (line.split("  ", 1) for line in checksums.read_text().splitlines())
        return Files(name, {path: digest for digest, path in lines}, sum(sizes.values()) + len(head) * len(sizes))


def write_checksums(path: Path, digests: Mapping[str, str]) -> None:
    """Write a list that `sha256sum -c` understands."""
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))


def _sha256_of_zeros(size: int) -> str:
    digest, piece = hashlib.sha256(), bytes(4 * MIB)
    for _ in range(size // len(piece)):
        digest.update(piece)
    digest.update(bytes(size % len(piece)))
    return digest.hexdigest()


def per_gib(amount: float, size: int) -> float:
    """Return an amount per GiB of `size` bytes."""
    return amount / (size / GIB)
