"""The base image where no registry can be reached: made from Debian's packages, and never mistaken for the official."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.process import SEARCH_PATH, find_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.image.engine import Docker

SUITE = "trixie"
"""The Debian whose Python is the 3.13 of the official base; its C library is newer than bookworm's."""
PACKAGES = ("python3", "python3-venv", "ca-certificates")
STAND_IN = f"stand-in-for-python-3.13-slim:{SUITE}"
CERTIFICATES = Path("/usr/local/share/ca-certificates")
"""What this machine trusts besides the usual, which a package index may need during the build."""


def stand_in(docker: Docker, folder: Path, cache: Path) -> str:
    """Import the stand-in into an engine and return its name; about 45 s where `cache` does not hold it yet."""
    certificates = sorted(CERTIFICATES.glob("*.crt"))
    recipe = [Path(__file__), *certificates]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in recipe)).hexdigest()
    archive = cache / f"{SUITE}-{digest[:16]}.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _make(folder, certificates, archive)
    docker("import", str(archive), STAND_IN)
    return STAND_IN


def _make(folder: Path, certificates: list[Path], archive: Path) -> None:
    with _in_memory(folder) as root:
        _command(
            find_program("debootstrap", "debootstrap"),
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            SUITE,
            str(root),
        )
        for certificate in certificates:
            shutil.copy(certificate, root / CERTIFICATES.relative_to("/"))
        _command("chroot", str(root), "update-ca-certificates")
        for leftover in (*root.glob("var/cache/apt/*"), *root.glob("var/lib/apt/lists/*")):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        # The official base has no bytecode of the standard library either.
        for bytecode in [*root.glob("usr/lib/python3*/**/__pycache__")]:
            shutil.rmtree(bytecode)
        unfinished = archive.with_suffix(".unfinished")
        _command("tar", "--create", "--file", str(unfinished), "--directory", str(root), ".")
        unfinished.replace(archive)


@contextmanager
def _in_memory(folder: Path) -> Iterator[Path]:
    """Give a folder in memory: dpkg syncs each file, which takes minutes on some disks."""
    folder.mkdir(parents=True)
    _command("mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "tmpfs", str(folder))
    try:
        yield folder / "root"
    finally:
        _command("umount", "--lazy", str(folder))


def _command(*command: str) -> None:
    environment = {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}")
