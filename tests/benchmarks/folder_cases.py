"""Copying from one folder of a disk to another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from downloader.integrity.checksum_file import MARKER
from tests.benchmarks.bench import Files, Outcome, write_checksums
from tests.benchmarks.measure import Tool
from tests.benchmarks.peers import absent, find, ours
from tests.benchmarks.results import ratios, table
from tests.benchmarks.verified import verified

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.benchmarks.bench import Bench

_REMARK = "Every tool syncs, and compares what it has written with the digests. Source and target are on one disk.\n"


def copy(bench: Bench, files: Files) -> Outcome:
    """Compare with tools that copy, each followed by a sync and a comparison with a list of checksums."""
    scores = bench.compare(lambda files: _tools(bench, files), files, rounds=1)
    return Outcome(f"{table(files, scores)}\n{_REMARK}", ratios(files, scores))


def _tools(bench: Bench, files: Files) -> Sequence[Tool]:
    source = bench.folder / f"listed-{files.name}"
    if not source.exists():
        source.mkdir()
        for path in files.digests:
            os.link(bench.web / files.name / path, source / path)
        write_checksums(source / MARKER, files.digests)
    sums = source / MARKER
    peers = [
        Tool("cp", lambda target: ["cp", "-r", "--reflink=auto", f"{source}/.", str(target)]),
        Tool("rsync", lambda target: ["rsync", "-a", f"{source}/", str(target)], missing=absent("rsync")),
        Tool(
            "rclone copy",
            lambda target: _rclone(source, target),
            {"RCLONE_CONFIG": "/dev/null"},
            missing=absent("rclone"),
        ),
    ]
    return [ours(f"file://{source}"), *(peer if peer.missing else verified(peer, sums) for peer in peers)]


def _rclone(source: Path, target: Path) -> list[str]:
    return [find("rclone") or "", "copy", "--transfers", "8", "--multi-thread-streams", "0", str(source), str(target)]
