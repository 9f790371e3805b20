"""Fetching from S3 and from a Hub."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import SMALL, Outcome
from tests.benchmarks.measure import MIB, Case, Contender, compete
from tests.benchmarks.peers import ours
from tests.benchmarks.s3_peers import s3_peers
from tests.benchmarks.standings import ratios, table
from tests.servers.blobs import Noise
from tests.servers.hub import Hub
from tests.servers.rclone import Rclone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.bench import Bench, Files

REPOSITORY = "org/model"
HUB_PEER = "hf download"


@contextmanager
def bucket(bench: Bench, files: Files) -> Iterator[Rclone]:
    """Serve a folder as a bucket of the same name."""
    with Rclone(Path(tempfile.mkdtemp(prefix="rclone-", dir=bench.folder))) as server:
        folder = server.buckets / files.name
        folder.mkdir()
        for path in files.digests:
            os.link(bench.web / files.name / path, folder / path)
        yield server


@contextmanager
def repository(files: dict[str, Noise]) -> Iterator[Hub]:
    """Serve files as a model of a Hub."""
    with Hub() as hub:
        hub.create(REPOSITORY).commit(files)
        yield hub


def s3(bench: Bench, files: Files, rounds: int) -> Outcome:
    """Compare with everybody who speaks S3, signed."""
    with bucket(bench, files) as server:
        contenders = [ours(f"s3://{files.name}", **server.environment())]
        case = Case(files.digests, files.size, [*contenders, *s3_peers(server, files.name, list(files.digests))])
        scores = compete(case, bench.folder, rounds, bench.say)
    return Outcome(table(case, scores), ratios(case, scores))


def hub_large(bench: Bench, *, xet: bool) -> Outcome:
    """Compare with `hf download`, over Xet or without it."""
    size = int(512 * MIB * bench.scale)
    contents = {f"model-{number}.safetensors": Noise(size, number) for number in range(2)}
    return _hub(bench, contents, xet=xet, rounds=bench.rounds)


def hub_small(bench: Bench, count: int) -> Outcome:
    """Compare with `hf download` where files are many; they are too small for Xet."""
    scaled = max(10, int(count * min(1.0, bench.scale)))
    contents = {f"small-{number:06}.bin": Noise(SMALL, number) for number in range(scaled)}
    return _hub(bench, contents, xet=False, rounds=1)


def _hub(bench: Bench, contents: dict[str, Noise], *, xet: bool, rounds: int) -> Outcome:
    with repository(contents) as hub:
        settings = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
        theirs = settings if xet else {**settings, "HF_HUB_DISABLE_XET": "1"}
        program = str(Path(sys.executable).parent / "hf")
        protocol = "XET" if xet else "HF_TRANSFER"
        contenders = [
            ours(f"hf://{REPOSITORY}", HF_ENDPOINT=hub.endpoint, AIM_DOWNLOADER_PROTOCOL=protocol),
            Contender(HUB_PEER, lambda target: [program, "download", REPOSITORY, "--local-dir", str(target)], theirs),
        ]
        files = {path: _sha256(content) for path, content in contents.items()}
        case = Case(files, sum(content.size for content in contents.values()), contenders)
        scores = compete(case, bench.folder, rounds, bench.say)
    return Outcome(table(case, scores), ratios(case, scores))


def _sha256(content: Noise) -> str:
    digest = hashlib.sha256()
    for piece in content.pieces():
        digest.update(piece)
    return digest.hexdigest()
