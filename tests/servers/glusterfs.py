"""GlusterFS from Debian: a distributed file system with one brick, in namespaces of its own. Up in about two seconds.

A brick's address must not be 127.0.0.1, and its daemons have fixed places in /run, /var/lib and /var/log. So they get a
network of their own with one more address on the loopback interface, and folders of ours in those places. Any process
may use a mount: only the clients enter that network.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.servers.closable import Closable
from tests.servers.process import Child

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROGRAMS = {"glusterd": "glusterfs-server", "glusterfs": "glusterfs-client", "ip": "iproute2"}
"""Program → Debian package."""
ADDRESS = "198.18.1.1"
"""Of the network that is set aside for benchmarks (RFC 2544)."""
VOLUME = "models"
_APART = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
# Asked before its socket is there, glusterd's own command waits three seconds before it asks again.
_START = f"""
ip link set lo up
ip address add {ADDRESS}/32 dev lo
mkdir lib log run brick
cp -a /var/lib/glusterd/. lib
mount --bind lib /var/lib/glusterd
mount --bind log /var/log/glusterfs
mount --bind run /run
glusterd --no-daemon --log-level WARNING &
until [ -S /run/glusterd.socket ]; do sleep 0.01; done
gluster --mode=script volume create {VOLUME} {ADDRESS}:$PWD/brick/0 force
gluster --mode=script volume start {VOLUME}
touch ready
wait
"""


class GlusterFS(Closable):
    """A running volume."""

    def __init__(self, folder: Path) -> None:
        """Start it; everything that it writes is in `folder`."""
        folder.mkdir(parents=True)
        self._daemons = Child([*_APART, "sh", "-euc", _START], folder=folder)
        self._daemons.wait_until((folder / "ready").exists)
        self.facts = json.dumps(self._daemons.pid)
        """What another process needs to mount it."""

    def mounting(self, place: Path) -> Sequence[str]:
        return JoinedGlusterFS(self.facts).mounting(place)

    def close(self) -> None:
        self._daemons.close(timeout=0.1)  # everything in its namespaces ends with it


class JoinedGlusterFS:
    """A volume that another process keeps."""

    def __init__(self, facts: str) -> None:
        self._pid = int(json.loads(facts))

    def mounting(self, place: Path) -> Sequence[str]:
        server = ("--volfile-server", ADDRESS, "--volfile-id", VOLUME)
        log = ("--log-file", f"{place}.log", "--log-level", "WARNING")
        return ("nsenter", f"--net=/proc/{self._pid}/ns/net", "glusterfs", "--no-daemon", *server, *log, str(place))
