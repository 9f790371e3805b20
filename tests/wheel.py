"""`make wheel-test`: build sdist and wheel, and run tests against the installed wheel instead of the checkout.

The wheel is installed in an environment of its own, which finds the libraries in `.venv`. The tests run in a copy of
the tree without `downloader/`, so that nothing but the wheel can be imported.
"""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
TESTS = ("tests/cli", "tests/conformance", "tests/config")
"""Tests that import the package or run its command, and read no source file."""


def build() -> Path:
    """Build the sdist, and the wheel from it, into `dist/`; return the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT)], check=True)
    (wheel,) = DIST.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Fail if the wheel holds anything but the package, or not all of it."""
    names = zipfile.ZipFile(wheel).namelist()
    files = {name for name in names if not re.match(r"[^/]+\.(dist-info|data)/", name)}
    pages = {path.name for path in (ROOT / "docs" / "man").iterdir()}
    if {Path(name).name for name in names if "/share/man/man1/" in name} != pages:
        sys.exit("the wheel has not all man pages")
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "downloader").rglob("*.py")} | {"downloader/py.typed"}
    if files != sources:
        sys.exit(f"the wheel and the package differ: {sorted(files ^ sources)}")


def check_description(wheel: Path) -> None:
    """Fail if the page on PyPI would have a link that leads nowhere: a relative one, or one to no file of this tree."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
    (source,) = (
        url for label, _, url in (it.partition(", ") for it in metadata.get_all("Project-URL", [])) if label == "Source"
    )
    here = (
        f"{source}/blob/v{metadata['Version']}/",
        f"{source}/v{metadata['Version']}/".replace("github.com", "raw.githubusercontent.com"),
    )
    links = re.findall(r"\]\(([^)#\s]+)", str(metadata.get_payload()))
    ours = [link.removeprefix(start) for link in links for start in here if link.startswith(start)]
    wrong = [link for link in links if not link.startswith("https://")] + [
        path for path in ours if not (ROOT / path).exists()
    ]
    if metadata["Description-Content-Type"] != "text/markdown" or len(ours) < 20 or wrong:
        sys.exit(f"the description has {len(ours)} links into the repository, and wrong ones: {wrong}")


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel without its dependencies, which `.venv` has; return the interpreter."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-index", "--no-deps", str(wheel)],
        check=True,
    )
    # A plain line adds the folder, and does not run the .pth files in it: the editable install stays out.
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


def main(arguments: list[str]) -> int:
    """Build, install and test; return pytest's status."""
    wheel = build()
    check_contents(wheel)
    check_description(wheel)
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:
        python = install(wheel, Path(name) / "environment")
        tree = Path(name) / "tree"
        shutil.copytree(
            ROOT,
            tree,
            ignore=shutil.ignore_patterns("downloader", ".venv", ".git", "dist", "build", ".*_cache", ".bench"),
        )
        found = subprocess.run(
            [python, "-c", "import downloader; print(downloader.__file__)"],
            cwd=tree,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        if not found.startswith(str(Path(name))):
            sys.exit(f"not the wheel is imported, but {found}")
        command = [
            str(python),
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-n",
            "2",
            "--dist",
            "loadgroup",
            "-m",
            "not slow",
        ]
        return subprocess.run([*command, *(arguments or TESTS)], cwd=tree, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
