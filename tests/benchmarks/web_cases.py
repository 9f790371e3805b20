"""Fetching from a web server: large files and small ones, onto the disk and into memory."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Outcome, per_gib
from tests.benchmarks.measure import Tool, clear, measure
from tests.benchmarks.peers import OURS, ours, program
from tests.benchmarks.results import ratios, table
from tests.benchmarks.verified import verified
from tests.benchmarks.web_peers import WebFolder, plain_reader, web_peers
from tests.servers.web import Options, WebServer
from tests.signing.signers import KeyOwner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.bench import Bench, Files

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system to measure, not a place for secrets
BEST_FOUR = ("s5cmd", "curl", "aria2c", "hf_transfer")
WRITER = "plain writer"
VERIFIED = ("curl", "aria2c", "s5cmd", "rclone")
FOR_SMALL_FILES = ("curl", "aria2c", "s5cmd", "rclone")
LEFT_OUT = "hf_transfer is left out for small files: it is made for large ones only."
READER, HASHER = "plain reader", "plain reader with sha256"
MANY = 5
"""Rounds where the runs that are compared differ by less than two runs of the same do."""
SIGNED, SAFE, BOTH = "with a signature", "with --formats safe", "with both"
CAP = 12_500_000
"""Bytes per second that a content network allows a connection: 100 Mbit/s."""


@contextmanager
def serve(bench: Bench, options: Options | None = None) -> Iterator[WebServer]:
    """Serve everything, over HTTP and HTTPS."""
    state = Path(tempfile.mkdtemp(prefix="nginx-", dir=bench.folder))
    with WebServer(bench.web, state=state, authority=bench.authority, options=options) as server:
        yield server


def to_disk(bench: Bench, files: Files, *, secure: bool, rounds: int = 0) -> Outcome:
    """Compare with all peers."""
    with serve(bench) as server:

        def tools(files: Files) -> list[Tool]:
            folder, trust = _folder(bench, server, files, secure=secure)
            return [ours(f"{folder.url}/", **trust), *web_peers(folder)]

        scores = bench.compare(tools, files, rounds=rounds)
    values = ratios(files, scores)
    four = [values[f"wall / {name}"] for name in BEST_FOUR if f"wall / {name}" in values]
    if four:
        values["wall / best of four"] = max(four)
    text = table(files, scores)
    if scores[OURS].runs:
        mine = scores[OURS]
        values |= {"CPU s/GiB": per_gib(mine.cpu, files.size), "hand-overs": mine.switches}
        text += (
            f"\nOur threads waited {mine.switches:,.0f} times, by the kernel's count of voluntary context switches: "
            "mostly for the interpreter's lock, which is handed over then.\n"
        )
    return Outcome(text, values)


def to_disk_verified(bench: Bench, files: Files, *, secure: bool, rounds: int = 0) -> Outcome:
    """Compare with peers that are given what we always do: each file is synced and compared with its sha256."""
    with serve(bench) as server:

        def tools(files: Files) -> list[Tool]:
            folder, trust = _folder(bench, server, files, secure=secure)
            sums = bench.web / files.name / "SHA256SUMS"
            return [ours(f"{folder.url}/", **trust), *(verified(tool, sums) for tool in web_peers(folder, *VERIFIED))]

        scores = bench.compare(tools, files, rounds=rounds)
    return Outcome(table(files, scores), ratios(files, scores))


def small_files(bench: Bench, files: Files) -> Outcome:
    """Compare where files are many, and with what the disk alone takes for them."""
    with serve(bench) as server:

        def tools(files: Files) -> list[Tool]:
            folder, _ = _folder(bench, server, files, secure=False)
            writer = Tool(
                WRITER,
                lambda target: program("plain_writer", str(target), str(len(files.digests)), python=sys.executable),
                writes=False,
            )
            return [ours(f"{folder.url}/"), writer, *web_peers(folder, *FOR_SMALL_FILES)]

        scores = bench.compare(tools, files, rounds=1)
    rest = (
        f"\nThe {WRITER} writes the same number and size of files without a network and syncs once: the time that "
        f"the disk itself takes. {LEFT_OUT}\n"
    )
    return Outcome(table(files, scores) + rest, ratios(files, scores, aside=(WRITER,)))


def to_memory(bench: Bench, files: Files, *, secure: bool) -> Outcome:
    """Compare with s5cmd where the disk costs nothing, and tell what hashing costs."""
    if not MEMORY.is_mount():
        return Outcome(f"Not measured: {MEMORY} is not a file system of its own.\n")
    with serve(bench) as server, tempfile.TemporaryDirectory(prefix="bench-", dir=MEMORY) as name:

        def tools(files: Files) -> list[Tool]:
            folder, trust = _folder(bench, server, files, secure=secure)
            readers = [plain_reader(folder, "plain", READER), plain_reader(folder, "sha256", HASHER)]
            with_readers = not secure and len(files.digests) == 1
            return [ours(f"{folder.url}/", **trust), *web_peers(folder, "s5cmd"), *(readers if with_readers else [])]

        scores = bench.compare(tools, files, folder=Path(name))
    text = table(files, scores)
    if READER in scores and scores[READER].runs and scores[HASHER].runs:
        plain, hashed = (per_gib(scores[one].cpu, files.size) for one in (READER, HASHER))
        text += (
            f"\nHashing costs {hashed - plain:.2f} CPU s/GiB: the suite's own plain reader (standard library, no "
            f"retry, no journal) takes {plain:.2f} without sha256 and {hashed:.2f} with it. The downloader has no "
            "switch that turns verification off.\n"
        )
    return Outcome(text, ratios(files, scores, aside=(READER, HASHER)))


def capped(bench: Bench, files: Files) -> Outcome:
    """Compare where each connection is slow but there may be many."""
    with serve(bench, Options(limit_rate=CAP)) as server:

        def tools(files: Files) -> list[Tool]:
            folder, _ = _folder(bench, server, files, secure=False)
            return [ours(f"{folder.url}/"), *web_peers(folder, "aria2c", "s5cmd", "hf_transfer", "rclone")]

        scores = bench.compare(tools, files, rounds=1)
    return Outcome(table(files, scores), ratios(files, scores))


def signed(bench: Bench, files: Files) -> Outcome:
    """Compare runs that verify a signature, judge formats, and do both with one that does neither."""
    owner = KeyOwner(bench.folder / "keys")
    with serve(bench) as server:

        def tools(files: Files) -> list[Tool]:
            folder = bench.web / files.name
            owner.sign(folder, ignored=["SHA256SUMS"])
            signature = (folder / "model.sig").rename(bench.folder / f"{files.name}.sig")
            required = (f"--verify-signature={signature}", "--signer-key", str(owner.trusted))
            safe = ("--formats", "safe")
            chosen = {SIGNED: required, SAFE: safe, BOTH: (*required, *safe)}
            url = f"{server.url}/{files.name}/"
            return [ours(url), *(ours(url, *options, name=name) for name, options in chosen.items())]

        scores = bench.compare(tools, files, rounds=max(MANY, bench.rounds))
    return Outcome(table(files, scores), ratios(files, scores))


def mirrored(bench: Bench, files: Files) -> Outcome:
    """Compare a run that a mirror serves, while another server is the origin, with one that needs no mirror."""
    with serve(bench) as origin, serve(bench) as near:

        def tools(files: Files) -> list[Tool]:
            there, here = f"{origin.url}/{files.name}/", f"{near.url}/{files.name}/"
            return [ours(there, "--mirror", here, "--mirror-first"), ours(here, name="without a mirror")]

        scores = bench.compare(tools, files)
        sent = sum(one.sent for one in origin.requests)
    rest = f"\n{OURS} is served by the mirror. In all rounds together the origin sent {sent:,} bytes.\n"
    share = {"share of bytes from the origin": sent / files.size}
    return Outcome(table(files, scores) + rest, ratios(files, scores) | share)


def one_processor(bench: Bench, files: Files) -> Outcome:
    """Compare on a single processor, and with ourselves on all of them."""
    pinned = ("taskset", "-c", "0")
    everywhere = f"{OURS} on all processors"
    with serve(bench) as server:

        def tools(files: Files) -> list[Tool]:
            url = f"{server.url}/{files.name}"
            peers = web_peers(WebFolder(url, list(files.digests), prefix=pinned), "aria2c", "s5cmd")
            return [ours(f"{url}/", prefix=pinned), ours(f"{url}/", name=everywhere), *peers]

        scores = bench.compare(tools, files)
    values = ratios(files, scores, aside=(everywhere,))
    return Outcome(table(files, scores), values | {"failures": float(bool(scores[OURS].failure))})


def bandwidth(bench: Bench) -> Outcome:
    """Tell how well a limit of 200 MB/s holds for ten seconds."""
    wanted, seconds = 200e6, 10 * min(1.0, bench.scale)
    files = bench.zeros(1, int(wanted * seconds))
    target = bench.folder / "limited"
    with serve(bench) as server:
        target.mkdir()
        run = measure(ours(f"{server.url}/{files.name}/", "--bandwidth", "200M"), target)
        bodies = [one for one in server.requests if one.status == 206 or one.sent > 1 << 20]
    clear(target)
    took = max(one.ended for one in bodies) - min(one.ended - one.seconds for one in bodies)
    rate = sum(one.sent for one in bodies) / took
    text = (
        f"`--bandwidth 200M`: {rate / 1e6:.1f} MB/s, from the first byte asked for to the last byte served, "
        f"{took:.1f} s by the server's log; the whole command took {run.wall:.1f} s.\n"
    )
    return Outcome(text, {"deviation": abs(rate / wanted - 1)})


def _folder(bench: Bench, server: WebServer, files: Files, *, secure: bool) -> tuple[WebFolder, dict[str, str]]:
    """Return the folder as peers see it, and what our own side must be told to trust its server."""
    bundle = bench.authority.bundle if secure else None
    origin = server.secure_url if secure else server.url
    folder = WebFolder(f"{origin}/{files.name}", list(files.digests), bundle)
    return folder, {"AIM_CA_BUNDLE": str(bundle)} if bundle else {}
