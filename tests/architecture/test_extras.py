"""The image without extras, before one is built: `docker/check.py` runs with the libraries missing that it lacks."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([\w.-]+)==", re.MULTILINE)

WITHOUT = """
import importlib, runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"{name} is in the image with the extras only", name=name)

check, *absent = sys.argv[1:]
sys.meta_path.insert(0, Absent())
names = runpy.run_path(check)
names["check_modules"](extras=False)
for name in names["EXTRAS"]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} does without the extras")
"""
"""Imports what `docker/check.py` imports in the image without extras, with libraries missing that are not in it."""


def pinned(lock: str) -> set[str]:
    """Return the distributions in a lock file."""
    return {normal(name) for name in PINNED.findall((ROOT / "requirements" / lock).read_text())}


def normal(distribution: str) -> str:
    """Return the name of a distribution as all write it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def only_with_extras() -> set[str]:
    """Return the names by which libraries are imported that only the image with the extras has."""
    distributions = pinned("full.txt") - pinned("run.txt")
    return {name for name, its in packages_distributions().items() if distributions.issuperset(map(normal, its))}


def test_the_check_of_the_image_knows_every_module_that_needs_an_extra() -> None:
    absent = only_with_extras()
    assert absent >= {"cryptography", "cyclonedx", "model_signing", "sigstore", "OpenSSL"}
    command = [sys.executable, "-c", WITHOUT, str(ROOT / "docker" / "check.py"), *sorted(absent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"EXTRAS of docker/check.py is not right:\n{done.stderr}"
