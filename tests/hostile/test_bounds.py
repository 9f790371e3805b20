"""What has no end, or more than there is room for: each ends in one line, the right status, and little memory."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.errors import ProtocolFailed
from downloader.meter import Meter
from downloader.sources import huggingface
from downloader.sources.huggingface import HubSource
from downloader.sources.s3 import S3Source, listing
from downloader.wire import Web
from downloader.wire.proxies import Proxies
from downloader.wire.tls import trust
from tests.command import Result, finish, start
from tests.servers.faults import FOREVER, Answer, EndlessPages, Exchange, Fault
from tests.servers.broken import BrokenWeb, Endless, NoLength, moved
from tests.servers.messages import Reply, Request
from tests.servers.origin import Server

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from tests.servers.hub import Hub

MIB = 1 << 20
ROOM = 400 * MIB
"""More memory than any of these may take."""


class Peak(threading.Thread):
    """The most memory that a process had, in bytes, as long as it lived."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._process = process

    def run(self) -> None:
        while self._process.poll() is None:
            with suppress(OSError, StopIteration, ValueError):
                lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
                line = next(line for line in lines if line.startswith("VmHWM"))
                self.bytes = int(line.split()[1]) << 10
            time.sleep(0.01)


def measured(*arguments: str | Path, extra: dict[str, str]) -> tuple[Result, int]:
    """Run the command; return its result and its peak of memory."""
    process = start(*arguments, extra=extra)
    peak = Peak(process)
    peak.start()
    result = finish(process, timeout=50)
    peak.join()
    return result, peak.bytes


if __name__ == "__main__":
    pass
