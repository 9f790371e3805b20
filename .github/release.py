"""Check that a version is ready for its tag, and print its section of the changelog: `release.py 0.1.0 > notes.md`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def problems(version: str, root: Path = ROOT) -> list[str]:
    """Return which places do not say `version`, in words."""
    said = {
        "downloader/version.py": rf'^__version__ = "{re.escape(version)}"$',
        "deploy/helm/artifact-downloader/Chart.yaml": rf"^version: {re.escape(version)}$",
        "deploy/kustomize/base/kustomization.yaml": rf"newTag: {re.escape(version)}$",
    }
    wrong = [
        f"{path} does not say {version}"
        for path, pattern in said.items()
        if not re.search(pattern, (root / path).read_text(), re.MULTILINE)
    ]
    wrong += [
        f"{path} says how to install what is not published yet"
        for path in ("README.md", "docs/install.md")
        if re.search(r"^Nothing is .*\byet\b", (root / path).read_text(), re.MULTILINE)
    ]
    return wrong if notes(version, root) else [*wrong, f"CHANGELOG.md has no section {version}"]


def notes(version: str, root: Path = ROOT) -> str:
    """Return the section of the changelog, without its heading; nothing if there is none."""
    sections = re.split(r"^## ", (root / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    found = [section for section in sections if re.match(rf"\[?{re.escape(version)}\b", section)]
    return found[0].split("\n", 1)[1].strip() if found else ""


if __name__ == "__main__":
    if wrong := problems(sys.argv[1]):
        sys.exit("\n".join(wrong))
    sys.stdout.write(notes(sys.argv[1]) + "\n")
