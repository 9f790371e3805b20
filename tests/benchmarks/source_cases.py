"""Fetching from S3 and from a Hub."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.integrity.checksum_file import MARKER
from tests.benchmarks.bench import FEW, SMALL, Files, Outcome, write_checksums
from tests.benchmarks.measure import MIB, Tool
from tests.benchmarks.peers import ours
from tests.benchmarks.results import ratios, table
from tests.benchmarks.s3_peers import s3_peers
from tests.benchmarks.verified import cache_verified
from tests.servers.blobs import Noise
from tests.servers.hub import Hub
from tests.servers.hub_front import HubFront
from tests.servers.process import LOOPBACK
from tests.servers.rclone import Rclone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tests.benchmarks.bench import Bench


_TAGGED = (
    "The server, `rclone serve s3`, publishes nothing but the MD5 of each object, as many stores do. We compute and "
    "compare it in addition to sha256; it takes twice as long as sha256."
)
_LISTED = (
    "The bucket contains our checksum file, like a bucket that was filled from a finished volume. So sha256 is "
    "compared and no MD5 is computed; a CRC64NVME, the default of AWS, is as cheap."
)
_FRONT = (
    "nginx redirects each file to another port, where it serves it, as the Hub and its content network do; only the "
    "listing comes from the suite's Hub in Python."
)


@contextmanager
def bucket(
    bench: Bench, files: Files, *, listed: bool = False, remembers: bool = False, host: str = LOOPBACK
) -> Iterator[Rclone]:
    """Serve a folder as a bucket of the same name, and that of its warm-up; with a checksum file if `listed`.

    A server that `remembers` ETags does not make those of large objects each time; small ones take longer with it.
    """
    folder = Path(tempfile.mkdtemp(prefix="rclone-", dir=bench.folder))
    with Rclone(folder, remembers=remembers, spends_memory=not remembers, host=host) as server:
        made = [each for each in (files, files.warm) if each is not None]
        for each in made:
            (server.buckets / each.name).mkdir()
            for path in each.digests:
                os.link(bench.web / each.name / path, server.buckets / each.name / path)
            if listed:
                write_checksums(server.buckets / each.name / MARKER, each.digests)
        for each in made if remembers else ():
            for _ in server.client().get_paginator("list_objects_v2").paginate(Bucket=each.name):
                pass  # from now on it knows the ETags, as any store does
        yield server


def s3_large(bench: Bench, files: Files, *, listed: bool) -> Outcome:
    """Compare with all S3 peers, with signed requests."""
    remark = _LISTED if listed else _TAGGED
    return _s3(bench, files, remark, listed=listed, remembers=True)


def s3_small(bench: Bench, files: Files) -> Outcome:
    """Compare with the peers that are fast for many files."""
    return _s3(
        bench, files, "boto3 and the aws CLI are left out: each takes about a minute.", without=("boto3", "aws CLI")
    )


def _s3(
    bench: Bench,
    files: Files,
    remark: str,
    *,
    listed: bool = False,
    remembers: bool = False,
    without: Collection[str] = (),
) -> Outcome:
    with bucket(bench, files, listed=listed, remembers=remembers) as server:

        def tools(files: Files) -> list[Tool]:
            mine = ours(f"s3://{files.name}", **server.environment())
            peers = s3_peers(server, files.name, list(files.digests))
            return [mine, *(peer for peer in peers if peer.name not in without)]

        scores = bench.compare(tools, files, rounds=1)
    return Outcome(f"{table(files, scores)}\n{remark}\n", ratios(files, scores))


def hub_large(bench: Bench, *, xet: bool, verified: bool = False) -> Outcome:
    """Compare with `hf download`, over Xet or without it; if `verified`, with a sync and `hf cache verify` after it."""
    size = int(512 * MIB * bench.scale)
    with Hub() as hub:
        files = publish(hub, "org/large", {f"model-{number}.safetensors": Noise(size, number) for number in range(2)})
        scores = bench.compare(lambda files: _hub_tools(hub.endpoint, files, xet=xet, verified=verified), files)
    return Outcome(table(files, scores), ratios(files, scores))


def hub_small(bench: Bench, count: int) -> Outcome:
    """Compare with `hf download` where files are many; they are too small for Xet."""
    with Hub() as hub, ExitStack() as fronts:
        warm = publish(hub, "org/few", small_contents(FEW))
        files = publish(hub, "org/many", small_contents(max(10, int(count * min(1.0, bench.scale)))))
        endpoints = {
            name: fronts.enter_context(
                HubFront(hub, name, state=Path(tempfile.mkdtemp(prefix="front-", dir=bench.folder)))
            ).endpoint
            for name in (warm.name, files.name)
        }
        scores = bench.compare(
            lambda files: _hub_tools(endpoints[files.name], files, xet=False), replace(files, warm=warm), rounds=1
        )
    return Outcome(f"{table(files, scores)}\n{_FRONT}\n", ratios(files, scores))


def small_contents(count: int) -> dict[str, Noise]:
    """Return that many small files: path → content."""
    return {f"small-{number:06}.bin": Noise(SMALL, number) for number in range(count)}


def publish(hub: Hub, name: str, contents: Mapping[str, Noise]) -> Files:
    """Make a model of these files."""
    hub.create(name).commit(contents)
    digests = {path: _sha256(content) for path, content in contents.items()}
    return Files(name, digests, sum(content.size for content in contents.values()))


def _hub_tools(endpoint: str, files: Files, *, xet: bool, verified: bool = False) -> list[Tool]:
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    theirs = settings if xet else {**settings, "HF_HUB_DISABLE_XET": "1"}
    program = str(Path(sys.executable).parent / "hf")
    protocol = "XET" if xet else "HF_TRANSFER"
    mine = ours(f"hf://{files.name}", HF_ENDPOINT=endpoint, AIM_DOWNLOADER_PROTOCOL=protocol)
    peer = Tool("hf download", lambda target: [program, "download", files.name, "--local-dir", str(target)], theirs)
    return [mine, cache_verified(peer, program, files.name) if verified else peer]


def _sha256(content: Noise) -> str:
    digest = hashlib.sha256()
    for piece in content.pieces():
        digest.update(piece)
    return digest.hexdigest()
