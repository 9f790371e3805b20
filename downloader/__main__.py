"""`python -m downloader` and `artifact-downloader`."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

GC_THRESHOLD = 5000
"""New objects between two garbage collections. Python's 700 cost a fifth of the CPU time of a listing."""


def main() -> None:
    """Run the command line of this process and end it with the command's status."""
    _open_streams()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _leave)
    # Process 1 ignores signals that it has no handler for, so its entrypoint blocks them until here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    gc.set_threshold(GC_THRESHOLD)
    environ = dict(os.environ)
    try:
        # Imported with handlers in place, since it takes some time.
        from downloader.cli.main import main as run
        from downloader.cli.process import leave
        from downloader.config.hub import hide_from_library
        from downloader.config.s3 import unset_empty
    except ImportError as error:
        sys.exit(_incomplete(error, environ))

    # The libraries read the environment themselves, and do not know what an empty variable means.
    hide_from_library(os.environ)
    unset_empty(os.environ)
    status, thread_hangs = run(sys.argv[1:], environ, sys.stdout, sys.stderr)
    if thread_hangs or threading.active_count() > 1:
        # A thread that still runs, even a daemon, can abort the interpreter during its shutdown.
        leave(status)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        leave(status)  # the interpreter would flush again, and exit with another status
    gc.freeze()  # skips the last garbage collection
    # The interpreter removes the handlers: a late signal would turn a run that was reported as done into a failure.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    sys.exit(status)


def _incomplete(error: ImportError, environ: Mapping[str, str]) -> int:
    """Report that the command line cannot be imported, with those modules that can; return the exit status."""
    try:
        from downloader.cli.failure import Audience, final_line, report_early_end
        from downloader.errors import unexpected
        from downloader.redaction import Redactor

        bug, audience, redactor = unexpected(error), Audience.of(sys.argv[1:], environ), Redactor()
        report_early_end(bug, audience, environ, redactor)
        sys.stderr.write(final_line(bug, audience, redactor) + "\n")
    except ImportError:
        sys.stderr.write(f"failed: this installation is not complete: {error.name or error} cannot be loaded\n")
    return os.EX_SOFTWARE


def _open_streams() -> None:
    """Open closed standard streams: otherwise a file of the volume could get one of their descriptors.

    Standard output only for reading: a result that has no reader has to fail.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest free descriptor: this one.
            os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _leave(signum: int, _frame: FrameType | None) -> None:
    """End the process at once: no run has begun, or it has ended."""
    os._exit(128 + signum)


if __name__ == "__main__":
    main()
