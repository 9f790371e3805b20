"""What is compared: the files, the server that serves them, and who fetches them."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Case, Contender
from tests.benchmarks.peers import find, ours, s5cmd_for, web_peers
from tests.servers.blobs import Noise
from tests.servers.hub import Hub
from tests.servers.rclone import Rclone
from tests.servers.web import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.certificates import Authority

MIB = 1 << 20


@dataclass(frozen=True)
class Bench:
    """Where a benchmark lives, and by how much its large files are scaled."""

    folder: Path
    authority: Authority
    scale: float

    def sizes(self, *, large: int, large_size: int, small: int = 0) -> dict[str, int]:
        """Return path → size of some large files and many of 20 KiB."""
        sizes = {f"big-{number}.bin": int(large_size * self.scale) for number in range(large)}
        return sizes | {f"small-{number:05}.bin": 20 << 10 for number in range(int(small * min(1.0, self.scale)))}

    def make(self, name: str, sizes: dict[str, int]) -> dict[str, str]:
        """Fill a folder below `web`, with a list of checksums in it; return path → sha256."""
        folder = self.folder / "web" / name
        folder.mkdir(parents=True, exist_ok=True)
        checksums = {}
        for seed, (path, size) in enumerate(sizes.items(), start=1):
            digest = hashlib.sha256()
            with (folder / path).open("wb") as file:
                for piece in Noise(size, seed).pieces():
                    digest.update(piece)
                    file.write(piece)
            checksums[path] = digest.hexdigest()
        (folder / "SHA256SUMS").write_text("".join(f"{value}  {path}\n" for path, value in checksums.items()))
        return checksums


def web_case(bench: Bench, title: str, name: str, sizes: dict[str, int], *, secure: bool) -> Iterator[Case]:
    """Compare with those that fetch from web servers."""
    files = bench.make(name, sizes)
    state = bench.folder / f"nginx-{name}-{secure}"
    with WebServer(bench.folder / "web", state=state, authority=bench.authority) as web:
        base = f"{web.secure_url if secure else web.url}/{name}"
        trust = {"AIM_CA_BUNDLE": str(bench.authority.bundle)} if secure else {}
        peers = web_peers(base, list(files), bench.authority.bundle if secure else None)
        yield Case(title, files, sum(sizes.values()), [ours(f"{base}/", **trust), *peers])


def hub_case(bench: Bench, title: str, *, xet: bool) -> Iterator[Case]:
    """Compare with `hf download`, over Xet and without it."""
    contents = {f"model-{number}.safetensors": Noise(int(512 * MIB * bench.scale), number) for number in range(2)}
    with Hub() as hub:
        hub.create("org/model").commit(contents)
        files = {path: _sha256(content) for path, content in contents.items()}
        settings = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
        theirs = settings if xet else {**settings, "HF_HUB_DISABLE_XET": "1"}
        program = str(Path(sys.executable).parent / "hf")
        contenders = [
            ours("hf://org/model", HF_ENDPOINT=hub.endpoint, AIM_DOWNLOADER_PROTOCOL="XET" if xet else "HF_TRANSFER"),
            Contender(
                "hf download", lambda target: [program, "download", "org/model", "--local-dir", str(target)], theirs
            ),
        ]
        yield Case(title, files, sum(content.size for content in contents.values()), contenders)


def s3_case(bench: Bench, title: str, name: str, sizes: dict[str, int]) -> Iterator[Case]:
    """Compare with those that fetch from S3, signed."""
    files = bench.make(name, sizes)
    with Rclone(bench.folder / "rclone") as server:
        (bench.folder / "web" / name).rename(server.buckets / name)
        contenders = [ours(f"s3://{name}", **server.environment())]
        if find("s5cmd"):
            contenders.append(s5cmd_for(server.endpoint, name, list(files), server.environment()))
        yield Case(title, files, sum(sizes.values()), contenders)


def all_cases(bench: Bench) -> dict[str, Callable[[], Iterator[Case]]]:
    """Return every case by its title, made when its turn comes."""
    mixed, many = (
        bench.sizes(large=2, large_size=512 * MIB, small=200),
        bench.sizes(large=0, large_size=0, small=10_000),
    )
    single, eight = bench.sizes(large=1, large_size=1024 * MIB), bench.sizes(large=8, large_size=512 * MIB)
    makers: dict[str, Callable[[str], Iterator[Case]]] = {
        "2 x 512 MiB + 200 x 20 KiB, HTTP": lambda title: web_case(bench, title, "mixed", mixed, secure=False),
        "2 x 512 MiB + 200 x 20 KiB, HTTPS": lambda title: web_case(bench, title, "mixed", mixed, secure=True),
        "1 x 1 GiB, HTTP": lambda title: web_case(bench, title, "single", single, secure=False),
        "1 x 1 GiB, HTTPS": lambda title: web_case(bench, title, "single", single, secure=True),
        "8 x 512 MiB, HTTP": lambda title: web_case(bench, title, "eight", eight, secure=False),
        "10,000 x 20 KiB, HTTP": lambda title: web_case(bench, title, "many", many, secure=False),
        "2 x 512 MiB, hf:// over Xet": lambda title: hub_case(bench, title, xet=True),
        "2 x 512 MiB, hf:// without Xet": lambda title: hub_case(bench, title, xet=False),
        "8 x 512 MiB, S3, signed (rclone serve s3)": lambda title: s3_case(bench, title, "eight", eight),
    }
    return {title: lambda title=title, make=make: make(title) for title, make in makers.items()}  # type: ignore[misc]


def _sha256(content: Noise) -> str:
    digest = hashlib.sha256()
    for piece in content.pieces():
        digest.update(piece)
    return digest.hexdigest()
