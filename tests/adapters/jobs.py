"""The three jobs of the image, opened as the operator does it: by their names, with nothing but an environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.command import Result, environment, finish, model, spawn
from tests.servers.blobs import Noise

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRYPOINT = Path(__file__).parents[2] / "entrypoint.sh"
NAMES = ("adapter-stage.sh", "adapter-reap.sh", "adapter-subtree-sync.sh")
HOUR = 3600
SERVICE = "0b7e0f7c-6d1c-4d3e-9a55-0f6f2b1f9c01"
"""As the operator names services: by their uid."""

FILES = {
    "adapter_config.json": b'{"r": 16}',
    "adapter_model.safetensors": Noise(3 << 20, seed=1).bytes(),
    "tokenizer/added_tokens.json": b"{}",
    ".hidden": b"hidden files are files",
}
"""An adapter."""


@dataclass
class AdapterJobs:
    """One adapter disk, and the jobs to it."""

    folder: Path
    """Where the jobs are; the disk is below it."""
    program: str = "downloader"
    """What `artifact-downloader` is."""
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.disk = self.folder / "adapter-disk"
        self.disk.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (self.folder / name).symlink_to(ENTRYPOINT)
        command = self.folder / "artifact-downloader"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {self.program} "$@"\n')
        command.chmod(0o755)

    def start(self, name: str, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        """Run an entry point. What `extra` sets to nothing is set, and empty."""
        inherited = environment()
        own = {
            "PATH": f"{self.folder}:{inherited['PATH']}",
            "PYTHONPATH": str(ENTRYPOINT.parent),
            "ADAPTER_PVC_ROOT": str(self.disk),
        }
        return spawn(self.folder / name, *arguments, env={**inherited, **own, **self.extra, **extra})

    def start_stage(self, uri: str, adapter: str = "lora", job: str = "job-1", **extra: str) -> subprocess.Popen[str]:
        """Start to stage an adapter."""
        return self.start(
            "adapter-stage.sh", uri, **{"SERVICE_ID": SERVICE, "ADAPTER_PATH": adapter, "JOB_ID": job} | extra
        )

    def stage(self, uri: str, adapter: str = "lora", job: str = "job-1", **extra: str) -> Result:
        """Stage an adapter."""
        return finish(self.start_stage(uri, adapter, job, **extra))

    def reap(self, keep: str, min_age: str | None = None, **extra: str) -> Result:
        """Reap, keeping these services."""
        age = {} if min_age is None else {"MIN_AGE_SECONDS": min_age}
        return finish(self.start("adapter-reap.sh", KEEP_SERVICE_IDS=keep, **age, **extra))

    def sync(self, keep: str, **extra: str) -> Result:
        """Sync a service, keeping these adapters."""
        return finish(
            self.start("adapter-subtree-sync.sh", **{"SERVICE_ID": SERVICE, "KEEP_ADAPTER_PATHS": keep} | extra)
        )

    @property
    def live(self) -> Path:
        """The folder that the service's pods mount."""
        return self.disk / SERVICE

    def plant(self, *paths: str) -> None:
        """Put files of some content there."""
        for path in paths:
            (self.disk / path).parent.mkdir(parents=True, exist_ok=True)
            (self.disk / path).write_text(path)

    def remains(self) -> list[str]:
        """Return what is in the control folders, by path, and every other hidden thing."""
        found = (path.relative_to(self.disk) for path in self.disk.rglob("*"))
        control = (".staging", ".aside", ".unload-tmp")
        return sorted(str(path) for path in found if path.parts[0].startswith(".") and str(path) not in control)

    def snapshot(self) -> dict[str, bytes | str]:
        """Return everything around the jobs: contents by path, symlinks as what they say, folders as nothing."""
        return {
            str(path.relative_to(self.folder)): f"-> {path.readlink()}"
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else ""
            for path in sorted(self.folder.rglob("*"))
        }


def age(path: Path, seconds: float = HOUR) -> None:
    """Make it look as if this, and everything in it, was last changed so long ago; a negative age is the future."""
    moment = time.time() - seconds
    for inner in [*path.rglob("*"), path]:
        os.utime(inner, (moment, moment), follow_symlinks=False)


def whole(folder: Path) -> bool:
    """Tell whether the checksums of a folder cover exactly what is in it, and are right."""
    listed = {
        line.split("  ", 1)[1] for line in (folder / ".artifact.sha256").read_text().splitlines() if line[0] != "#"
    }
    checked = subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=folder, check=False)
    return checked.returncode == 0 and listed == set(model(folder))
