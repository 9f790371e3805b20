"""Bytes that were written past the caches, and read back while the file was not yet whole."""

from __future__ import annotations

import hashlib
import mmap
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, RemoteFile, Span
from downloader.volume import Volume
from tests.servers.blobs import Noise

if TYPE_CHECKING:
    from tests.distributed.nodes import Nodes

MIB = 1 << 20
CONTENT = Noise(64 * MIB, seed=20).bytes()


def test_a_node_sees_the_bytes_that_it_has_written_where_it_had_read_a_hole(nodes: Nodes) -> None:
    """The client of CephFS reads ahead, and keeps the zeros of holes that direct writes then fill."""
    place = nodes().volume
    file = RemoteFile("model.bin", len(CONTENT), (Digest(Algorithm.SHA256, hashlib.sha256(CONTENT).hexdigest()),))
    with Volume(place) as volume, volume.lease("http://models/"):
        partial = volume.partial(file)
        memory, back = memoryview(mmap.mmap(-1, MIB)), memoryview(mmap.mmap(-1, MIB))

        def write(start: int) -> None:
            memory[:] = CONTENT[start : start + MIB]
            partial.write(start, memory)
            partial.complete(Span(start, start + MIB))

        for start in range(0, 16 * MIB, MIB):
            write(start)
        for start in range(0, 16 * MIB, MIB):
            assert partial.readinto(start, back) == MIB
            assert back == CONTENT[start : start + MIB]
        for start in range(16 * MIB, len(CONTENT), MIB):
            write(start)
        partial.close()
        (part,) = (path for path in place.rglob("*.part"))
        assert part.read_bytes() == CONTENT
