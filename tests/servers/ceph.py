"""Ceph from Debian, all in memory: its RADOS Gateway, a real S3 service of the older kind, and CephFS beside it.

The gateway checks signatures and policies, knows If-Match, and knows nothing of additional checksums or part numbers.
Both run for any user id; only mounting the file system takes root.
"""

from __future__ import annotations

import subprocess
import uuid
from typing import TYPE_CHECKING

from tests.servers.process import SEARCH_PATH, Child, free_port, listening
from tests.servers.s3 import Account, S3Server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROGRAMS = {
    "radosgw": "radosgw",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "ceph": "ceph-common",
}
"""Program → Debian package."""
FILE_SYSTEM_PROGRAMS = {**PROGRAMS, "ceph-mds": "ceph-mds", "ceph-fuse": "ceph-fuse"}

STORE_STARTS = 5
MAX_REFUSALS = 20
"""How often the young monitor may refuse a command that it will take a moment later."""

CONFIGURATION = """
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{monitor_port}/0
auth cluster required = none
auth service required = none
auth client required = none
ms bind msgr2 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = /dev/null
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data = {folder}/mon
osd data = {folder}/osd
mds data = {folder}/mds
[osd.0]
{store}
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw dns name = 127.0.0.1
rgw enable gc threads = false
rgw enable lc threads = false
rgw run sync thread = false
"""


IN_MEMORY = """osd objectstore = memstore
memstore device bytes = 2147483648"""
ON_DISK = """osd objectstore = bluestore
bluestore block size = {size}
bluestore cache autotune = false
bluestore cache size = 268435456"""


class Ceph(S3Server):
    """A monitor, an object store in memory and the S3 gateway. Up in about ten seconds."""

    anonymous_buckets = True
    keeps_versions = True

    def __init__(self, folder: Path, *, on_disk: int = 0) -> None:
        """Start it; everything that it writes is in `folder`. `on_disk`: bytes of a store that is not in memory."""
        (folder / "mon").mkdir(parents=True)
        (folder / "osd").mkdir()
        self._folder = folder
        self._children: list[Child] = []
        port, monitor_port = free_port(), free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        fsid = str(uuid.uuid4())
        store = ON_DISK.format(size=on_disk) if on_disk else IN_MEMORY
        configuration = CONFIGURATION.format(
            fsid=fsid, folder=folder, port=port, monitor_port=monitor_port, store=store
        )
        (folder / "ceph.conf").write_text(configuration)
        try:
            self._start(fsid, port, monitor_port)
            self.account = self._make_account("owner")
            self.stranger = self._make_account("stranger")
        except BaseException:
            self.stop()
            raise

    def add_file_system(self) -> CephFS:
        """Start CephFS on the same store, which takes three more seconds."""
        (self._folder / "mds").mkdir()
        self._spawn("ceph-mds", "-i", "a", "-f")
        for pool in ("cephfs-metadata", "cephfs-data"):
            self._run("ceph", "osd", "pool", "create", pool, "1")
        self._run("ceph", "fs", "new", "cephfs", "cephfs-metadata", "cephfs-data")
        while "up:active" not in self._run("ceph", "mds", "stat"):
            pass
        return CephFS(f"{self._folder}/ceph.conf")

    def stop(self) -> None:
        # Their own way to stop takes seconds, and what they hold is in memory anyway.
        for child in reversed(self._children):
            child.close(timeout=0.1)

    def _start(self, fsid: str, port: int, monitor_port: int) -> None:
        place = f"[v1:127.0.0.1:{monitor_port}]"
        self._run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", place, "monmap")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
        self._spawn("ceph-mon", "-i", "a", "-f").wait_until(lambda: listening(monitor_port))
        osd = str(uuid.uuid4())
        self._run("ceph", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._start_store()
        self._spawn("radosgw", "-n", "client.rgw", "-f").wait_until(lambda: listening(port))

    def _start_store(self) -> None:
        """Start the object store; now and then its first words to the young monitor are refused, and it ends."""
        for _ in range(STORE_STARTS):
            store = self._spawn("ceph-osd", "-i", "0", "-f")
            while not store.ended:
                if '"num_up_osds":1' in self._run("ceph", "osd", "stat", "--format", "json"):
                    return
        raise RuntimeError(f"the object store ended {STORE_STARTS} times")

    def _make_account(self, name: str) -> Account:
        account = Account(f"CEPH{name.upper()}", f"{name}-secret")
        self._run(
            "radosgw-admin",
            *("user", "create", "--uid", name, "--display-name", name),
            *("--access-key", account.access_key_id, "--secret-key", account.secret_access_key),
        )
        return account

    def _command(self, *words: str) -> list[str]:
        return [words[0], "-c", f"{self._folder}/ceph.conf", *words[1:]]

    def _run(self, *words: str) -> str:
        command = list(words) if words[0] == "monmaptool" else self._command(*words)
        for _ in range(MAX_REFUSALS):
            done = subprocess.run(
                command,
                cwd=self._folder,
                env={"PATH": SEARCH_PATH, "HOME": str(self._folder), "LC_ALL": "C.UTF-8"},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            if done.returncode == 0:
                return done.stdout
            if "Error EPERM" not in done.stderr:
                break
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")

    def _spawn(self, *words: str) -> Child:
        child = Child(self._command(*words), folder=self._folder)
        self._children.append(child)
        return child


class CephFS:
    """The file system of a Ceph that runs, whichever process keeps it."""

    def __init__(self, facts: str) -> None:
        """`facts` is where its configuration is."""
        self.facts = facts

    def mounting(self, place: Path) -> Sequence[str]:
        own = ("--admin-socket", "", "--log-file", f"{place}.log", "--pid-file", "")
        return ("ceph-fuse", "-c", self.facts, "-f", *own, str(place))
