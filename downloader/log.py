"""Logging of the whole process: one line per record on one stream, as text or JSON (`log_format.py`), without secrets.

Records of libraries are shown from `warning` on, tracebacks only at `debug`. What Python itself would print (warnings,
uncaught exceptions, also those of threads and finalizers) is logged as well, through the hooks that Python documents
for this.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Protocol

from downloader.log_format import JSON, OURS, TEXT, JsonFormat, TextFormat, is_ours

if TYPE_CHECKING:
    from types import TracebackType

    from downloader.log_format import LogFormat
    from downloader.redaction import Redactor

FOREIGN: Final = (
    "boto3",
    "botocore",
    "client",  # how the kubernetes client calls itself
    "filelock",
    "hf_xet",
    "httpcore2",
    "httpx2",
    "huggingface_hub",
    "kubernetes",
    "lark",  # of the licence expressions in a BOM
    "s3transfer",
    "securesystemslib",  # of model-signing
    "urllib3",
)

log = logging.getLogger(__name__)


class LineStream(Protocol):
    """Where lines are written: a text stream, or a terminal that has something drawn below them."""

    def write(self, text: str, /) -> int:
        """Write whole lines. Raises OSError, and ValueError if it is closed."""

    def flush(self) -> None:
        """Pass on what was written. Raises the same."""


class LineHandler(logging.Handler):
    """Writes each record as one line. Must not raise, whatever a record holds or the stream does."""

    def __init__(self, stream: LineStream, form: LogFormat) -> None:
        super().__init__()
        self._stream = stream
        self._form = form
        self.own_level = logging.INFO
        self._silent = False
        self._ended = False

    @property
    def foreign_level(self) -> int:
        """From this level on records of libraries are shown: below `warning` they quote headers and bodies."""
        return max(self.own_level, logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; called under the handler's lock."""
        if not self._silent and (is_ours(record) or record.levelno >= self.foreign_level):
            self._write(list(self._form.lines(record, tracebacks=self.own_level <= logging.DEBUG)))

    def end(self, last_line: str) -> None:
        """Write this line unchanged unless it is empty, and no record after it. Later calls write nothing."""
        self.acquire()
        try:
            self._silent = True
            if last_line and not self._ended:
                self._ended = True
                self._write([last_line])
        finally:
            self.release()

    def _write(self, lines: list[str]) -> None:
        try:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
        except (OSError, ValueError):
            return  # the stream is closed, and there is no other place for an error message


class Log:
    """The logging of the process."""

    def __init__(self, handler: LineHandler, undo: ExitStack) -> None:
        self._handler = handler
        self._undo = undo

    def set_level(self, level: str) -> None:
        """Show our own records from this level on, `debug` to `error`, and those of libraries from `warning` on."""
        self._handler.own_level = logging.getLevelNamesMapping()[level.upper()]
        logging.getLogger(OURS).setLevel(self._handler.own_level)
        for name in (None, *FOREIGN):
            logging.getLogger(name).setLevel(self._handler.foreign_level)

    def end(self, last_line: str = "") -> None:
        """Write this line unchanged, if any, and nothing after it: records of other threads are dropped from now on."""
        self._handler.end(last_line)

    def restore(self) -> None:
        """Undo `set_up`, for a process that sets up logging more than once."""
        self._undo.close()


def set_up(
    stream: LineStream,
    redactor: Redactor,
    level: str = "info",
    form: str = TEXT,
    *,
    for_operator: bool = False,
) -> Log:
    """Send all log records to this stream, with `level` as for `Log.set_level`; `form` is `text` or `json`.

    The operator searches the log of a failed pod for words: with `for_operator`, each line is reworded so that none of
    them matches.
    """
    chosen = JsonFormat if form == JSON else TextFormat
    handler = LineHandler(stream, chosen(redactor, for_operator=for_operator))
    undo = ExitStack()
    for name in (None, OURS, *FOREIGN):
        _take_over(logging.getLogger(name), undo)
    logging.getLogger().addHandler(handler)
    for name in FOREIGN:
        # Some libraries add a handler when they are imported, which is later: it would write unredacted lines (ADR 70).
        _replace(logging.getLogger(name), "addHandler", _ignore_handler, undo)
    _replace(warnings, "showwarning", _show_warning, undo)
    _replace(sys, "excepthook", _uncaught, undo)
    _replace(sys, "unraisablehook", _unraisable, undo)
    _replace(threading, "excepthook", _uncaught_in_thread, undo)
    logs = Log(handler, undo)
    logs.set_level(level)
    return logs


def _take_over(logger: logging.Logger, undo: ExitStack) -> None:
    undo.callback(logger.setLevel, logger.level)
    _replace(logger, "propagate", True, undo)
    _replace(logger, "handlers", [], undo)


def _replace(target: object, name: str, value: object, undo: ExitStack) -> None:
    undo.callback(setattr, target, name, getattr(target, name))
    setattr(target, name, value)


def _ignore_handler(_handler: logging.Handler) -> None:
    """Replace `addHandler` of a library's logger."""


def _show_warning(message: Warning | str, category: type[Warning], *_where: object) -> None:
    log.warning("%s: %s", category.__name__, message)


def _uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    log.critical("uncaught", exc_info=error)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "?"
    log.critical("uncaught in thread %s", name, exc_info=args.exc_value)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    log.warning("%s %r", args.err_msg or "ignored in", args.object, exc_info=args.exc_value)
