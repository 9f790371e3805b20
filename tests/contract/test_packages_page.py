"""docs/contributing/packages.md has a line for each package and top-level module, and for nothing else."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path("downloader")
PAGE = Path("docs/contributing/packages.md")


def test_the_page_lists_every_package_and_top_level_module() -> None:
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.rglob("__init__.py")} - {""}
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    assert sorted(re.findall(r"^\| `([\w.]+)` \|", PAGE.read_text(), re.MULTILINE)) == sorted(packages | modules)


def test_the_page_lists_packages_before_those_that_they_import() -> None:
    linter = Path(".importlinter").read_text()
    layers = linter.split("layers =", 1)[1].split("\n\n", 1)[0].split()
    listed = [name for name in re.findall(r"^\| `([\w.]+)` \|", PAGE.read_text(), re.MULTILINE) if "." not in name]
    assert listed == [name for name in layers if name != "|"]
