"""The Xet format, as far as a server needs it: hashes, chunks, xorbs, and how files are put together from them."""

from __future__ import annotations

import struct
import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.servers.blobs import Blob, Shelf

CHUNK_BYTES = 64 << 10
"""Where we cut. Clients take any cuts up to twice that."""
_XORB_BYTES = 63 << 20
_DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_FILE_KEY = bytes(32)
_MAX_CHILDREN = 9


class Node(NamedTuple):
    """A hash and the number of bytes that it stands for."""

    digest: bytes
    length: int


def hexadecimal(digest: bytes) -> str:
    """Write a hash as Xet does: four little-endian words."""
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", digest))


def hash_chunk(content: bytes) -> Node:
    """Hash one chunk."""
    return Node(blake3(content, key=_DATA_KEY).digest(), len(content))


def hash_xorb(chunks: Sequence[Node]) -> str:
    """Hash the chunks of a xorb: a tree whose shape follows from the hashes themselves."""
    return hexadecimal(_root(chunks))


def hash_file(chunks: Sequence[Node]) -> str:
    """Hash all chunks of a file."""
    return hexadecimal(blake3(_root(chunks), key=_FILE_KEY).digest() if chunks else bytes(32))


def _root(nodes: Sequence[Node]) -> bytes:
    while len(nodes) > 1:
        nodes = [_parent(group) for group in _groups(nodes)]
    return nodes[0].digest if nodes else bytes(32)


def _groups(nodes: Sequence[Node]) -> Iterator[Sequence[Node]]:
    start = 0
    while start < len(nodes):
        stop = min(start + _MAX_CHILDREN, len(nodes))
        ends = (at + 1 for at in range(start + 2, stop) if struct.unpack("<Q", nodes[at].digest[24:])[0] % 4 == 0)
        stop = next(ends, stop)
        yield nodes[start:stop]
        start = stop


def _parent(group: Sequence[Node]) -> Node:
    lines = "".join(f"{hexadecimal(node.digest)} : {node.length}\n" for node in group)
    return Node(blake3(lines.encode(), key=_NODE_KEY).digest(), sum(node.length for node in group))


@dataclass(eq=False)
class Xorb:
    """Chunks in a row, each behind a record head, as one object of the store."""

    chunks: list[Node] = field(default_factory=list)
    raw_offsets: list[int] = field(default_factory=lambda: [0])
    """Where each chunk starts in the row of contents; the last entry is the end."""
    stored_offsets: list[int] = field(default_factory=lambda: [0])
    """Where each record starts in the object; the last entry is the end."""
    name: str = ""
    blob: Blob | None = None
    records: list[bytes] = field(default_factory=list)

    def append(self, chunk: Node, content: bytes) -> None:
        """Add a chunk, stored as it is."""
        length = chunk.length.to_bytes(3, "little")
        self.records += [b"\0", length, b"\0", length, content]
        self.chunks.append(chunk)
        self.raw_offsets.append(self.raw_offsets[-1] + chunk.length)
        self.stored_offsets.append(self.stored_offsets[-1] + 8 + chunk.length)


@dataclass(frozen=True, slots=True)
class Term:
    """The chunks `first <= index < last` of a xorb, as a part of a file."""

    xorb: Xorb
    first: int
    last: int

    @property
    def length(self) -> int:
        """Bytes of content."""
        return self.xorb.raw_offsets[self.last] - self.xorb.raw_offsets[self.first]

    @property
    def stored(self) -> tuple[int, int]:
        """The first and the last byte of its records in the xorb."""
        return self.xorb.stored_offsets[self.first], self.xorb.stored_offsets[self.last] - 1


class XetStore:
    """All files and xorbs of a Hub; a chunk that several files share is stored once."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._lock = threading.Lock()
        self._places: dict[bytes, tuple[Xorb, int]] = {}
        self.files: dict[str, list[Term]] = {}
        self.xorbs: dict[str, Xorb] = {}

    def add(self, blob: Blob) -> str:
        """Store a file and return its hash."""
        with self._lock:
            chunks: list[Node] = []
            terms: list[Term] = []
            xorb = Xorb()
            for content in blob.pieces(CHUNK_BYTES):
                chunk = hash_chunk(content)
                chunks.append(chunk)
                if chunk.digest not in self._places:
                    if xorb.stored_offsets[-1] >= _XORB_BYTES:
                        self._seal(xorb)
                        xorb = Xorb()
                    self._places[chunk.digest] = xorb, len(xorb.chunks)
                    xorb.append(chunk, content)
                _extend(terms, *self._places[chunk.digest])
            self._seal(xorb)
            name = hash_file(chunks)
            self.files[name] = terms
            return name

    def reconstruct(self, name: str, start: int, stop: int) -> tuple[int, list[Term]]:
        """Return the terms that hold these bytes of a file, and where in the first term they begin."""
        terms: list[Term] = []
        skipped = position = 0
        for term in self.files[name]:
            offsets, base = term.xorb.raw_offsets, term.xorb.raw_offsets[term.first]
            if position < stop and start < position + term.length:
                first = max(term.first, bisect_right(offsets, base + start - position) - 1)
                last = min(term.last, bisect_left(offsets, base + stop - position))
                if not terms:
                    skipped = start - (position + offsets[first] - base)
                terms.append(Term(term.xorb, first, last))
            position += term.length
        return skipped, terms

    def size(self, name: str) -> int:
        """Return a file's length."""
        return sum(term.length for term in self.files[name])

    def _seal(self, xorb: Xorb) -> None:
        if xorb.chunks:
            xorb.name = hash_xorb(xorb.chunks)
            xorb.blob = self._shelf.put(b"".join(xorb.records))
            xorb.records.clear()
            self.xorbs[xorb.name] = xorb


def _extend(terms: list[Term], xorb: Xorb, index: int) -> None:
    """Add one chunk to a file's terms."""
    if terms and terms[-1].xorb is xorb and terms[-1].last == index:
        terms[-1] = Term(xorb, terms[-1].first, index + 1)
    else:
        terms.append(Term(xorb, index, index + 1))
