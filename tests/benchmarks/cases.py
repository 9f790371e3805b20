"""Every case by its title, in the order of the page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.benchmarks import (
    folder_cases,
    growth_cases,
    link_cases,
    listing_cases,
    lock_cases,
    memory_cases,
    mount_cases,
    process_cases,
    reader_cases,
    shard_cases,
    source_cases,
    verify_cases,
    web_cases,
)
from tests.benchmarks.measure import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.benchmarks.bench import Bench, Files, Outcome


def _single(bench: Bench) -> Files:
    return bench.large(1, GIB)


def _slow(bench: Bench) -> Files:
    return replace(_single(bench), warm=bench.large(1, 64 * MIB))


def _eight(bench: Bench) -> Files:
    return bench.large(8, 512 * MIB)


def _eight_tensors(bench: Bench) -> Files:
    """Return safetensors, since of other files there is little to judge."""
    files, warm = (
        bench.tensors(8, size, reader_cases.header_of(size))
        for size in (int(512 * MIB * bench.scale), int(32 * MIB * bench.scale))
    )
    return replace(files, warm=warm)


CASES: Mapping[str, Callable[[Bench], Outcome]] = {
    "1 GiB, HTTPS to disk": lambda bench: web_cases.to_disk(bench, _single(bench), secure=True),
    "1 GiB, HTTP to disk": lambda bench: web_cases.to_disk(bench, _single(bench), secure=False),
    "8 x 512 MiB, HTTP to disk": lambda bench: web_cases.to_disk(bench, _eight(bench), secure=False, rounds=1),
    "8 x 512 MiB, HTTPS to disk": lambda bench: web_cases.to_disk(bench, _eight(bench), secure=True, rounds=1),
    "1 GiB, HTTPS to disk, all verified": lambda bench: web_cases.to_disk_verified(bench, _single(bench), secure=True),
    "1 GiB, HTTP to disk, all verified": lambda bench: web_cases.to_disk_verified(bench, _single(bench), secure=False),
    "8 x 512 MiB, HTTP to disk, all verified": lambda bench: web_cases.to_disk_verified(
        bench, _eight(bench), secure=False, rounds=1
    ),
    "8 x 512 MiB, HTTPS to disk, all verified": lambda bench: web_cases.to_disk_verified(
        bench, _eight(bench), secure=True, rounds=1
    ),
    "1 GiB, HTTP to tmpfs": lambda bench: web_cases.to_memory(bench, _single(bench), secure=False),
    "1 GiB, HTTPS to tmpfs": lambda bench: web_cases.to_memory(bench, _single(bench), secure=True),
    "8 x 512 MiB, HTTP to tmpfs": lambda bench: web_cases.to_memory(bench, _eight(bench), secure=False),
    "8 x 512 MiB, HTTPS to tmpfs": lambda bench: web_cases.to_memory(bench, _eight(bench), secure=True),
    "8 x 512 MiB, S3, signed": lambda bench: source_cases.s3_large(bench, _eight(bench), listed=False),
    "8 x 512 MiB, S3, signed, with our list": lambda bench: source_cases.s3_large(bench, _eight(bench), listed=True),
    "2 x 512 MiB, hf:// over Xet": lambda bench: source_cases.hub_large(bench, xet=True),
    "2 x 512 MiB, hf:// without Xet": lambda bench: source_cases.hub_large(bench, xet=False),
    "2 x 512 MiB, hf:// over Xet, all verified": lambda bench: source_cases.hub_large(bench, xet=True, verified=True),
    "2 x 512 MiB, hf:// without Xet, all verified": lambda bench: source_cases.hub_large(
        bench, xet=False, verified=True
    ),
    "8 x 512 MiB, folder to folder, all verified": lambda bench: folder_cases.copy(bench, _eight(bench)),
    "8 x 512 MiB, HTTP, with a signature": lambda bench: web_cases.signed(bench, _eight_tensors(bench)),
    "8 x 512 MiB, HTTP, from a near mirror": lambda bench: web_cases.mirrored(bench, _eight(bench)),
    "2 x 512 MiB + 200 x 20 KiB, HTTP": lambda bench: web_cases.to_disk(bench, bench.mixed(), secure=False, rounds=1),
    "1 GiB, HTTPS onto GlusterFS": lambda bench: mount_cases.onto_glusterfs(bench, _single(bench)),
    "8 x 512 MiB, HTTPS onto GlusterFS": lambda bench: mount_cases.onto_glusterfs(bench, _eight(bench)),
    "1 GiB, HTTPS onto CephFS": lambda bench: mount_cases.onto_cephfs(bench, _single(bench)),
    "8 x 512 MiB, HTTPS onto CephFS": lambda bench: mount_cases.onto_cephfs(bench, _eight(bench)),
    "1, 2, 4 and 8 processes, 400 Mbit/s each": lambda bench: shard_cases.scaling(bench, bench.large(8, 256 * MIB)),
    "Interpreter lock": lock_cases.interpreter_lock,
    "10,000 x 20 KiB, HTTP": lambda bench: web_cases.small_files(bench, bench.small(10_000)),
    "10,000 x 20 KiB, S3, signed": lambda bench: source_cases.s3_small(bench, bench.small(10_000)),
    "10,000 x 20 KiB, hf:// without Xet": lambda bench: source_cases.hub_small(bench, 10_000),
    "1,000,000 objects in a listing": listing_cases.objects,
    "1,000 x 20 KiB, 40 ms away, 16 connections": lambda bench: link_cases.small_files(bench, bench.small(1000), 16),
    "1 GiB, 40 ms away, 1 Gbit/s link": lambda bench: link_cases.fat_pipe(bench, _slow(bench)),
    "1 GiB, each connection capped at 100 Mbit/s": lambda bench: web_cases.capped(bench, _slow(bench)),
    "256 MiB memory cgroup": memory_cases.little_memory,
    "Verification after the last byte": lambda bench: process_cases.tail(
        bench, {"1 GiB": _single(bench), "8 x 512 MiB": _eight(bench)}
    ),
    "Hashing what is there, 8 x 512 MiB": lambda bench: verify_cases.hashing(bench, _eight(bench)),
    "Reading back after a download, 8 x 512 MiB": lambda bench: reader_cases.read_back(bench, 8, 512 * MIB),
    "Rerun on a finished volume of 10,000 files": process_cases.rerun,
    "Cold start": process_cases.start,
    "Growth": growth_cases.growth,
    "Bandwidth 200 MB/s over 10 s": web_cases.bandwidth,
    "1 processor, 2 x 512 MiB + 200 x 20 KiB": lambda bench: web_cases.one_processor(bench, bench.mixed()),
}
