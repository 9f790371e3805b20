"""`make image-test`: from a machine without a container engine to the tested images. Needs root, says what it does.

`--base NAME` builds on that image instead of the stand-in, where a registry can be reached; what follows `--` goes to
pytest.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from downloader import __version__
from tests.image.base import STAND_IN, stand_in
from tests.image.contents import describe
from tests.image.engine import Engine

ROOT = Path(__file__).parents[2]
IMAGE = "artifact-downloader:test"
FULL = f"{IMAGE}-full"
WARNING = f"""\
!!! The base is {STAND_IN}: Debian's own packages with Python 3.13,
!!! made here because no registry is needed for it. It is NOT the official python:3.13-slim-bookworm.
!!! Sizes and results below are those of the stand-in."""


def main(arguments: list[str]) -> int:
    """Build, describe and test the images; return pytest's status."""
    parser = argparse.ArgumentParser(prog="make image-test", description=__doc__)
    parser.add_argument("--base", help="an image to build on in place of the stand-in")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))  # nothing must outlive us
    if os.geteuid() != 0:
        return give_up("starting a container engine needs root")
    try:
        with tempfile.TemporaryDirectory(prefix="image-test-") as name, Engine(Path(name)) as engine:
            return test(engine, Path(name), options.base, options.pytest)
    except RuntimeError as error:
        return give_up(str(error))


def give_up(why: str) -> int:
    """Say loudly that nothing was tested; return the exit status."""
    print(f"!!! THE IMAGES WERE NOT TESTED: {why}", file=sys.stderr)
    return 1


def test(engine: Engine, folder: Path, base: str | None, pytest_arguments: list[str]) -> int:
    """Do it all on a running engine."""
    if base is None:
        print(WARNING, flush=True)
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "artifact-downloader-image"
        with Stopwatch("making the base from Debian's packages, or taking it from the cache"):
            base = stand_in(engine.docker, folder / "base", cache)
    else:
        engine.docker("pull", base, timeout=600)
    for image, target in {IMAGE: (), FULL: ("--target", "full")}.items():
        with Stopwatch(f"building {image}"):
            engine.docker("build", *build_arguments(base), *target, "--tag", image, str(ROOT), timeout=600)
        print(describe(engine.docker, image, base), flush=True)
    command = [sys.executable, "-m", "pytest", "tests/image", *pytest_arguments]
    command += ["--engine", engine.docker.host, "--image", IMAGE, "--full", FULL, "--base", base]
    with Stopwatch("testing the images"):
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if base == STAND_IN:
        print(WARNING, flush=True)
    return status


def build_arguments(base: str) -> list[str]:
    """Return what a release would give to `docker build`, too."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    facts = {
        "BASE": base,
        "VERSION": __version__,
        "REVISION": done.stdout.strip() or "unknown",
        "CREATED": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return ["--network=host", *(f"--build-arg={name}={value}" for name, value in facts.items())]


class Stopwatch:
    """Says how long something took."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        self._started = time.monotonic()
        print(f"{self._what} ...", flush=True)

    def __exit__(self, *_: object) -> None:
        print(f"{self._what}: {time.monotonic() - self._started:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
