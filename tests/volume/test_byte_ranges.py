from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import Span
from downloader.volume.journal import ByteRanges

SIZE = 60
SPANS = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda ends: Span(*ends)), max_size=30)


@given(SPANS)
def test_a_set_of_spans_is_a_set_of_bytes(spans: list[Span]) -> None:
    there = ByteRanges(spans)
    expected = {byte for span in spans for byte in range(span.start, span.stop)}
    assert {byte for span in there for byte in range(span.start, span.stop)} == expected
    assert {byte for span in there.missing(SIZE) for byte in range(span.start, span.stop)} == {*range(SIZE)} - expected
    assert there.size == len(expected)
    assert bool(there) == bool(expected)


@given(SPANS)
def test_spans_that_touch_become_one(spans: list[Span]) -> None:
    ends = [(span.start, span.stop) for span in ByteRanges(spans)]
    assert all(stop < start for (_, stop), (start, _) in pairwise(ends))
