"""A further process of a run: `python -P -m downloader.runs.helper_process`, started by `helpers.py`.

It ends when its standard input does, since the run that has started it has ended then.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pickle
import signal
import sys
import threading
from typing import TYPE_CHECKING

from downloader.errors import DownloadError
from downloader.runs.download import Download
from downloader.runs.runner import Runner
from downloader.sources.registry import ArtifactUri

if TYPE_CHECKING:
    from downloader.runs.helpers import Task

log = logging.getLogger(__name__)


def _listen(download: Download) -> None:
    """Pass on how many processes are left, and end this one when its standard input ends."""
    for line in sys.stdin.buffer:
        download.divide(int(line))
    os._exit(os.EX_TEMPFAIL)


def main() -> int:
    """Help until the work is done or the parent ends; return the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    task: Task = pickle.load(sys.stdin.buffer)  # noqa: S301 -- from the parent, over a pipe of its own
    gc.set_threshold(*task.collects)
    runner = Runner()
    signal.signal(signal.SIGTERM, lambda *_: runner.cancellation.cancel())
    uri, cache = ArtifactUri.parse(task.uri), None
    if task.is_cached:
        from downloader.runs.hub_cache import cached_repository  # noqa: PLC0415 - paid for only where a cache is filled

        cache = cached_repository(uri, task.settings)
    download = Download(uri, task.settings, runner, environment=task.environment, cache=cache, for_operator=False)
    threading.Thread(target=_listen, args=(download,), daemon=True).start()

    def tell(_snapshot: object) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(f"{runner.meter.received_bytes}\n")
            sys.stdout.flush()

    try:
        download.help(task.shard, tell)
    except DownloadError as error:
        if runner.cancellation.reason is None:
            log.warning("%s; the others go on without this one", error)
        return error.exit_status
    finally:
        tell(None)
    return 0


if __name__ == "__main__":
    os._exit(main())
