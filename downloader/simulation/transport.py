"""A simulated transport, which follows a script instead of using the network.

It writes only the first and the last bytes of a range, so that a file of any size takes almost no space and time.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.errors import ProtocolFailed
from downloader.integrity import Hasher
from downloader.transfer import CompletedFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from downloader.artifact import RemoteFile
    from downloader.cancellation import Cancellation
    from downloader.progress import ProgressMeter
    from downloader.sources import Source
    from downloader.transfer import Feed, FileSink
    from downloader.volume import Partial

END = 4096
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Script:
    """What an attempt does, in this order. Durations are in seconds."""

    hang: float = 0.0
    """Wait as if for the network, without a byte: the watchdog ends the attempt."""
    run: float = 0.0
    """Wait without being suspected of a stall."""
    failure: str = ""
    """Then fail each file with this message; empty: do not fail."""
    pause: float = 0.0
    """Pause between the two halves of a file."""


class SimulatedTransport:
    """Transfers files of a source that has all bytes in advance."""

    def __init__(self, source: Source, script: Script, meter: ProgressMeter, attempt: Cancellation) -> None:
        self._source = source
        self._script = script
        self._meter = meter
        self._attempt = attempt

    def fetch(self, files: Sequence[RemoteFile], sink: FileSink, feed: Feed | None = None) -> None:
        """Follow the script, then transfer each file; a simulated run shares its work with no other process."""
        del feed
        if self._script.hang:
            with self._meter.waiting_for_network():
                self._attempt.sleep(self._script.hang)
        self._attempt.sleep(self._script.run)
        for file in files:
            if self._script.failure:
                sink.fail(file, ProtocolFailed(self._script.failure))
                continue
            with closing(sink.begin(file)) as partial:
                self._transfer(partial)
                self._commit(self._completed_file(partial), sink)

    def _commit(self, completed_file: CompletedFile, sink: FileSink) -> None:
        for error in sink.commit([completed_file]).values():
            raise error

    def _transfer(self, partial: Partial) -> None:
        half = partial.file.size // 2
        for span in _halves(partial.missing(), half):
            if span.start >= half:
                self._attempt.sleep(self._script.pause)
            self._write(partial, Span(span.start, min(span.start + END, span.stop)))
            self._write(partial, Span(max(span.start, span.stop - END), span.stop))
            partial.complete(span)
            self._meter.add_received(len(span))
            self._meter.add_written(len(span))

    def _write(self, partial: Partial, span: Span) -> None:
        buffer = memoryview(bytearray(len(span)))
        with closing(self._source.open(partial.file, span)) as body:
            filled = 0
            while filled < len(span):
                filled += body.readinto(buffer[filled:])
        partial.write(span.start, buffer)

    def _completed_file(self, partial: Partial) -> CompletedFile:
        """Hash the bytes of the source. Those that were not written are a hole in the file, which reads as zeros."""
        file = partial.file
        hasher = Hasher(file.size, file.digests)
        buffer = memoryview(bytearray(PIECE))
        with closing(self._source.open(file, Span(0, file.size))) as body:
            while hasher.position < file.size:
                self._attempt.check()
                hasher.update(buffer[: body.readinto(buffer)])
        return CompletedFile(partial.finish(), hasher.results(), hasher.head)


def _halves(gaps: list[Span], half: int) -> Iterator[Span]:
    """Yield the missing ranges, split where the second half begins."""
    for gap in gaps:
        if gap.start < half < gap.stop:
            yield Span(gap.start, half)
            yield Span(half, gap.stop)
        else:
            yield gap
