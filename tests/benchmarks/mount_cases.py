"""Downloads onto a distributed file system."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome
from tests.benchmarks.peers import ours
from tests.benchmarks.results import ratios, table
from tests.benchmarks.web_cases import VERIFIED, serve
from tests.benchmarks.web_peers import WebFolder, web_peers
from tests.servers.ceph import FILE_SYSTEM_PROGRAMS, Ceph
from tests.servers.glusterfs import PROGRAMS, GlusterFS
from tests.servers.mounts import Mount, unable_to_mount

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.bench import Bench, Files
    from tests.benchmarks.measure import Tool
    from tests.servers.web import WebServer

LONGEST = 300.0
"""Seconds that any tool may take."""
ROOM = 24 << 30
"""Bytes of the object store of CephFS, most of which are never written: it frees what was removed after a while."""
_HOW_CEPHFS = (
    "Over HTTPS onto CephFS with one object store on the same disk, by ceph-fuse. What the others wrote is synced file "
    "by file: a sync of the mount does not reach what its client has not sent.\n"
)
_HOW_GLUSTERFS = (
    "Over HTTPS onto GlusterFS with one brick, by a FUSE mount. What the others wrote is synced on the disk of the "
    "brick, since a sync of the mount does not reach it.\n"
)


def onto_glusterfs(bench: Bench, files: Files) -> Outcome:
    """Compare with the peers that write to any folder."""
    if reason := unable_to_mount(PROGRAMS):
        return Outcome(f"Not measured: {reason}\n")
    place = bench.folder / f"node-{files.name}"
    with (
        GlusterFS(bench.folder / f"glusterfs-{files.name}") as volume,
        Mount(volume, place),
        serve(bench) as server,
    ):

        def tools(files: Files) -> list[Tool]:
            return [replace(tool, timeout=LONGEST, disk=bench.folder) for tool in _tools(bench, server, files)]

        scores = bench.compare(tools, files, rounds=1, folder=place)
    return Outcome(f"{table(files, scores)}\n{_HOW_GLUSTERFS}", ratios(files, scores))


def onto_cephfs(bench: Bench, files: Files) -> Outcome:
    """Compare with the same peers."""
    if reason := unable_to_mount(FILE_SYSTEM_PROGRAMS):
        return Outcome(f"Not measured: {reason}\n")
    with (
        Ceph(bench.folder / f"ceph-{files.name}", on_disk=ROOM) as ceph,
        Mount(ceph.add_file_system(), bench.folder / f"node-{files.name}") as mount,
        serve(bench) as server,
    ):

        def tools(files: Files) -> list[Tool]:
            return [_synced(tool) if tool.sync else tool for tool in _tools(bench, server, files)]

        scores = bench.compare(tools, files, rounds=1, folder=mount.place)
    return Outcome(f"{table(files, scores)}\n{_HOW_CEPHFS}", ratios(files, scores))


def _tools(bench: Bench, server: WebServer, files: Files) -> list[Tool]:
    bundle = bench.authority.bundle
    folder = WebFolder(f"{server.secure_url}/{files.name}", list(files.digests), bundle)
    tools = ours(f"{folder.url}/", AIM_CA_BUNDLE=str(bundle)), *web_peers(folder, *VERIFIED)
    return [replace(tool, timeout=LONGEST) for tool in tools]


def _synced(tool: Tool) -> Tool:
    """Return a tool that syncs each file that it has written."""

    def command(target: Path) -> list[str]:
        return ["sh", "-c", 'target=$0; "$@" && sync "$target"/*', str(target), *tool.command(target)]

    return replace(tool, command=command, sync=False)
