"""Transports: the code that moves the bytes of a protocol from a source to a file sink.

`TransportFactory` (`registry.py`) creates the `Transport` of an attempt, with a `TransferConfig`:

- `Ranged` runs the attempt. Its `WorkerPool` has as many threads as the `ConcurrencyController` of the source allows.
- The `Scheduler` gives each worker a `Task`: a file to begin, or a `Segment` of a file that others fetch, too.
- A `FileTransfer` is the state of one file: what is still to be fetched, and the hasher that follows in order.
- A worker fills page-aligned `Buffers`, writes them to the file's `Partial`, and hands them to the hasher. While it
  processes pipelined small files, `CpuAffinity` pins it to one CPU.
- A `CompletedFile` goes to the `CommitQueue`, and from there to the `FileSink`, which verifies it and names it.
- `Xet` is `Ranged` over a source that reads from a child process, `XetProcess`.

Errors of one file leave it to the next attempt (`FileSink.fail`); errors of the run cancel all workers.
"""

from downloader.transfer.base import CompletedFile, Feed, FileSink, Intake, Transport
from downloader.transfer.config import TransferConfig
from downloader.transfer.registry import TransportFactory
from downloader.transfer.xet import XetSettings

__all__ = [
    "CompletedFile",
    "Feed",
    "FileSink",
    "Intake",
    "TransferConfig",
    "Transport",
    "TransportFactory",
    "XetSettings",
]
