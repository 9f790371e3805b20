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

SELDOM = 5000
"""New objects between two looks for garbage. Python's 700 cost a fifth of the CPU time of a listing."""


def main() -> None:
    """Run the command line of this process and end it with the command's status."""
    _open_streams()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _leave)
    # Process 1 would miss a signal that comes while it has no handler, so its entrypoint holds them back until here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    gc.set_threshold(SELDOM)
    environ = dict(os.environ)
    try:
        # Imported under these handlers: it takes a while.
        from downloader.cli.commands import main as run
        from downloader.cli.process import leave
        from downloader.config.hub import hide_from_library
        from downloader.config.s3 import unset_empty
    except ImportError as error:
        sys.exit(_incomplete(error, environ))

    # The settings know what it means that a key is set to nothing. The libraries, which look for themselves, do not.
    hide_from_library(os.environ)
    unset_empty(os.environ)
    status, abandoned = run(sys.argv[1:], environ, sys.stdout, sys.stderr)
    if abandoned or threading.active_count() > 1:
        # A thread that still runs, and be it a daemon, can abort the interpreter while it shuts down.
        leave(status)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        leave(status)  # Python's own end would try again, and make another status of it
    gc.freeze()  # or Python would look through everything once more before it ends
    # Python's own end takes the handlers away: a late signal would make a failure of a run that has been told as done.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    sys.exit(status)


def _incomplete(error: ImportError, environ: Mapping[str, str]) -> int:
    """Tell of an installation in which the command line cannot be loaded, as far as what is left of it can do that."""
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
    """Open what was closed of the standard streams: else a file of the volume could get one of their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _leave(signum: int, _frame: FrameType | None) -> None:
    """Leave at once: no run has begun, or it is over."""
    os._exit(128 + signum)


if __name__ == "__main__":
    main()
