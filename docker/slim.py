#!/usr/bin/env python3
"""Removes from the environment that runs it what no run of ours ever reads, and prints what each rule saves.

With a folder, it does so in that: an installation of the extras, which becomes a part of the environment.

Each rule must find something: one that does not is out of date, and the build fails. `check.py` proves what is left.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PACKAGES = Path(sysconfig.get_path("purelib"))
SCRIPTS = Path(sysconfig.get_path("scripts"))
KEPT_SCRIPTS = {"python", "python3"}
ASYNCIO = (
    *("aiohappyeyeballs", "aiohttp", "aiohttp-retry", "aiosignal"),
    *("attrs", "frozenlist", "multidict", "propcache", "yarl"),
)
"""What the asyncio half of the Kubernetes client needs, and nothing else."""


@dataclass(frozen=True)
class Rule:
    """Some files and folders that we can do without, and why."""

    reason: str
    paths: Iterable[Path]


def rules() -> Iterable[Rule]:
    """Say what goes of what every run may need."""
    yield Rule("tests of dependencies", [*PACKAGES.glob("*/tests"), *PACKAGES.glob("*/_test.py")])
    yield Rule("stubs for type checkers", PACKAGES.rglob("*.pyi"))
    yield Rule("sources of compiled modules", [path for kind in ("*.pyx", "*.pxd") for path in PACKAGES.rglob(kind)])
    yield Rule("commands of dependencies", others(SCRIPTS.iterdir(), KEPT_SCRIPTS))
    yield Rule("Kubernetes client: its asyncio half", [PACKAGES / "kubernetes/aio"])
    yield Rule("what only the asyncio half needs", owned_by(*ASYNCIO))
    yield Rule("Kubernetes client: kinds that a status patch has nothing to do with", unused_kinds())
    frameworks = ("aiohttp", "bridge", "django", "twisted")
    yield Rule("Prometheus client: what serves metrics", [PACKAGES / "prometheus_client" / name for name in frameworks])
    yield Rule(
        "AWS: services other than S3 and those that credentials come from",
        others(folders(PACKAGES / "botocore/data"), {"s3", "signin", "sso", "sso-oidc", "sts"}),
    )
    yield Rule("AWS: examples", [*(PACKAGES / "botocore/data").rglob("examples-*.json"), PACKAGES / "boto3/examples"])
    yield Rule("AWS: resources", others(folders(PACKAGES / "boto3/data"), {"s3"}))


def rules_of_extras(prefix: Path) -> Iterable[Rule]:
    """Say what goes of the extras, which are installed in `prefix`."""
    packages = prefix / PACKAGES.relative_to(sys.prefix)
    yield Rule("stubs for type checkers", packages.rglob("*.pyi"))
    yield Rule("commands of dependencies", (prefix / "bin").iterdir())
    yield Rule("what only they need", owned_by("markdown-it-py", "mdurl", "pygments", "rich", below=packages))
    yield Rule("what the Kubernetes client has been rid of", owned_by(*ASYNCIO, below=packages))


def others(paths: Iterable[Path], keep: set[str]) -> list[Path]:
    """Return the paths whose names are not to be kept."""
    return [path for path in paths if path.name not in keep]


def folders(parent: Path) -> list[Path]:
    """Return the folders in a folder."""
    return [path for path in parent.iterdir() if path.is_dir()]


def owned_by(*distributions: str, below: Path = PACKAGES) -> list[Path]:
    """Return every file of these distributions, which are installed in the folder `below`."""
    found = []
    for name in distributions:
        (distribution,) = importlib.metadata.distributions(name=name, path=[str(below)])
        found += [Path(str(distribution.locate_file(file))).resolve() for file in distribution.files or ()]
    return [path for path in found if path.is_relative_to(below) and path.exists()]


def unused_kinds() -> list[Path]:
    """Return the generated modules that patching a custom object does not load."""
    importlib.import_module("kubernetes.client.api.custom_objects_api")
    generated = [*PACKAGES.glob("kubernetes/client/api/*.py"), *PACKAGES.glob("kubernetes/client/models/*.py")]
    loaded = {getattr(module, "__file__", None) for module in sys.modules.values()}
    return [path for path in generated if str(path) not in loaded]


def size(path: Path) -> int:
    """Return the bytes of a file or of everything in a folder."""
    if path.is_dir():
        return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    return path.lstat().st_size


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def main(arguments: list[str]) -> int:
    """Apply every rule; return 1 if one of them is out of date."""
    prefix = Path(arguments[0]) if arguments else Path(sys.prefix)
    packages = prefix / PACKAGES.relative_to(sys.prefix)
    outdated = False
    for rule in rules_of_extras(prefix) if arguments else rules():
        paths = [path for path in rule.paths if path.exists()]
        saved = sum(map(size, paths))
        for path in paths:
            remove(path)
        outdated = outdated or not paths
        sys.stdout.write(f"{saved / 1e6:7.2f} MB  {rule.reason}{'' if paths else ': NOTHING FOUND'}\n")
    for path in sorted(packages.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    sys.stdout.write(f"{size(packages) / 1e6:7.2f} MB  left, without bytecode\n")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
