"""Small artifacts, and a downloader of ten lines that brings them onto a volume."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile, Span, Validator
from downloader.volume import FileState, VerifiedFile, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.volume import Inventory, Partial

URI = "hf://org/model"


def noise(size: int, seed: int = 0) -> bytes:
    """Return bytes that are no pattern and always the same."""
    return random.Random(seed).randbytes(size)  # noqa: S311


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def remote(path: str, data: bytes, *, published: bool = True) -> RemoteFile:
    """Return the file as a source lists it, with its sha256 if that is `published`."""
    digests = (Digest(Algorithm.SHA256, sha256(data)),) if published else ()
    return RemoteFile(
        path, len(data), digests, locator=f"https://origin/{path}", validator=Validator(f'"{sha256(data)[:8]}"')
    )


def git_remote(path: str, data: bytes) -> RemoteFile:
    """Return a file of which the source knows only the git blob id, as the Hub does of small ones."""
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return RemoteFile(path, len(data), (Digest(Algorithm.GIT_SHA1, blob),))


def manifest_of(files: Mapping[str, bytes], *, uri: str = URI, published: bool = True) -> Manifest:
    return Manifest(uri, tuple(remote(path, files[path], published=published) for path in sorted(files)), "c0ffee")


def fill(volume: Volume, file: RemoteFile, data: bytes, *, piece: int = 1 << 20) -> int:
    """Fetch what is missing of one file, commit it, and return how many bytes had to be fetched."""
    partial = volume.partial(file)
    fetched = 0
    for gap in partial.missing():
        for start in range(gap.start, gap.stop, piece):
            span = Span(start, min(start + piece, gap.stop))
            partial.write(span.start, memoryview(bytearray(data[span.start : span.stop])))
            partial.complete(span)
            fetched += len(span)
    commit(volume, partial, data)
    return fetched


def commit(volume: Volume, partial: Partial, data: bytes, proof: str = "") -> None:
    """Give one file its final name."""
    volume.commit([VerifiedFile(partial.finish(), sha256(data), proof)])


def bring(
    volume: Volume,
    manifest: Manifest,
    files: Mapping[str, bytes],
    *,
    piece: int = 1 << 20,
    committed: Callable[[str], None] = lambda _: None,
) -> int:
    """Do a whole run under a lease that is held, and return how many bytes had to be fetched.

    `committed` is told each path that has got its final name.
    """
    inventory = volume.inventory(manifest)
    volume.reclaim(inventory)
    digests = dict(inventory.digests)
    wanted = list(inventory.having(FileState.PARTIAL, FileState.MISSING))
    for entry in inventory.having(FileState.UNVERIFIED):
        found = volume.check(entry)
        if found is None:
            wanted.append(entry)
        else:
            digests[entry.file.path] = found.sha256 or ""
    fetched = 0
    for entry in wanted:
        path = entry.file.path
        fetched += fill(volume, entry.file, files[path], piece=piece)
        digests[path] = sha256(files[path])
        committed(path)
    volume.publish(manifest, digests)
    return fetched


def download(volume: Volume, files: Mapping[str, bytes], *, manifest: Manifest | None = None) -> int:
    """Do a whole run with a lease of its own, and return how many bytes had to be fetched."""
    manifest = manifest or manifest_of(files)
    with volume.lease(manifest.uri):
        return bring(volume, manifest, files)


def states(inventory: Inventory) -> dict[str, FileState]:
    return {entry.file.path: entry.state for entry in inventory.entries}
