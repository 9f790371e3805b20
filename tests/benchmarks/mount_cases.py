"""Downloads onto a distributed file system."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome
from tests.benchmarks.peers import ours
from tests.benchmarks.results import ratios, table
from tests.benchmarks.web_cases import VERIFIED, serve
from tests.benchmarks.web_peers import WebFolder, web_peers
from tests.servers.glusterfs import PROGRAMS, GlusterFS
from tests.servers.mounts import Mount, unable_to_mount

if TYPE_CHECKING:
    from tests.benchmarks.bench import Bench, Files
    from tests.benchmarks.measure import Tool

LONGEST = 300.0
"""Seconds that any tool may take."""
_HOW = (
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
            bundle = bench.authority.bundle
            folder = WebFolder(f"{server.secure_url}/{files.name}", list(files.digests), bundle)
            mine = ours(f"{folder.url}/", AIM_CA_BUNDLE=str(bundle))
            return [replace(tool, timeout=LONGEST, disk=bench.folder) for tool in (mine, *web_peers(folder, *VERIFIED))]

        scores = bench.compare(tools, files, rounds=1, folder=place)
    return Outcome(f"{table(files, scores)}\n{_HOW}", ratios(files, scores))
