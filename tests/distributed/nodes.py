"""Nodes that share a distributed file system: each has a mount, a host name and processes that no other node sees."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.command import start
from tests.servers.closable import Closable
from tests.servers.mounts import Mount

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.servers.mounts import Distributed

_APART = ("unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
_NAMED = 'hostname "$0"; exec "$@"'
_LOOK = """
timeout 10 find . -path ./t/.downloading -prune -o -ls
timeout 10 find t/.downloading -ls
for file in t/.downloading/lease.* t/.downloading/shards.*/members/*; do
  echo "$file:"; timeout 10 tail -c 1000 "$file"
done
echo log:; tail -n 20 "$0"
"""
"""Each look has a bound: the file system may be what hangs."""


class Node(Closable):
    """A machine with a mount."""

    def __init__(self, files: Distributed, place: Path) -> None:
        self.name = place.name
        self.mount = Mount(files, place)
        self.volume = place
        """The folder of the test, through this node's mount."""

    def start(self, *arguments: str | Path, extra: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start the command on this node, in a process group of its own."""
        return start(*arguments, extra=extra, through=(*_APART, "sh", "-c", _NAMED, self.name))

    def state(self) -> str:
        """Return what this node sees of the volume, and what its mount has said."""
        look = ["sh", "-c", _LOOK, f"{self.mount.place}.log"]
        seen = subprocess.run(look, cwd=self.volume, capture_output=True, text=True, errors="replace", check=False)
        return f"{self.name}:\n{seen.stdout}{seen.stderr}"

    def close(self) -> None:
        self.mount.close()


class Nodes(Closable):
    """Makes nodes, and ends them."""

    def __init__(self, files: Distributed, folder: Path, name: str) -> None:
        """Each has its mount in `folder`, and in it the folder `name`, which is one and the same on all."""
        self._files = files
        self._folder = folder
        self._name = name
        self._stack = ExitStack()
        self._nodes: list[Node] = []

    def __call__(self) -> Node:
        """Return a new node."""
        node = self._stack.enter_context(Node(self._files, self._folder / f"node-{len(self._nodes) + 1}"))
        node.volume = node.mount.place / self._name
        node.volume.mkdir(exist_ok=True)
        self._nodes.append(node)
        return node

    def state(self) -> str:
        """Return what each node sees."""
        return "\n".join(node.state() for node in self._nodes)

    def close(self) -> None:
        self._stack.close()
