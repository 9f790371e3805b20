"""Which pieces of a shared file are left: compared with a look at every byte."""

from __future__ import annotations

import random

import pytest

from downloader.artifact import RemoteFile, Span
from downloader.shards.shared_file import SharedFile
from downloader.volume import ByteRanges

PIECE, SIZE = 10, 203
PIECES = [Span(start, min(start + PIECE, SIZE)) for start in range(0, SIZE, PIECE)]


def covered(ranges: ByteRanges) -> set[int]:
    return {byte for span in ranges for byte in range(span.start, span.stop)}


@pytest.mark.parametrize("seed", range(40))
def test_what_is_left_follows_from_every_byte(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    done = ByteRanges()
    state = SharedFile(RemoteFile("model.bin", SIZE), PIECES, 0, done)
    counted = 0
    by_others: set[int] = set()
    for _ in range(30):
        if chance.random() < 0.5 and state.left():
            state.take(chance.choice(state.left()))
        else:
            start = chance.randrange(SIZE)
            done.add(Span(start, min(SIZE, start + chance.randrange(25))))
        here = covered(done) | covered(state.taken)
        assert state.left() == [n for n, piece in enumerate(PIECES) if not set(range(piece.start, piece.stop)) <= here]
        for number in range(len(PIECES)):
            lacking = {byte for span in state.lacking(number) for byte in range(span.start, span.stop)}
            assert lacking == set(range(PIECES[number].start, PIECES[number].stop)) - here
        by_others |= covered(done) - covered(state.taken)
        counted += state.counted()
        assert counted == len(by_others)
    assert state.is_at_rest == (covered(state.taken) <= covered(done))
