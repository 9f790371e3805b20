"""Logging for the whole process: one line per record on one stream, free of secrets, worded for who reads it.

Records of other people's libraries come from warnings on, tracebacks only at `debug`. What Python itself would print
(warnings, uncaught exceptions, also those of threads and finalizers) takes the same way.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from downloader.formatting import single_line
from downloader.operator_log import neutralize

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import TextIO

    from downloader.redaction import Redactor

OURS: Final = "downloader"
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
    "s3transfer",
    "urllib3",
)
LONGEST: Final = 2000
"""Characters of a line: what servers answer must not flood the log."""

_CLEAR_LINE: Final = "\r\x1b[K"

log = logging.getLogger(__name__)


class LineHandler(logging.Handler):
    """Writes each record as one line. Must not raise, whatever a record holds or the stream does."""

    def __init__(self, stream: TextIO, redactor: Redactor, level: int, *, for_operator: bool, drawing: bool) -> None:
        super().__init__()
        self._stream = stream
        self._redactor = redactor
        self._reword = neutralize if for_operator else str
        self._clear = _CLEAR_LINE if drawing else ""
        self._tracebacks = level <= logging.DEBUG
        self.foreign_level = max(level, logging.WARNING)
        self._silent = False
        self._ended = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; called under the handler's lock."""
        if not self._silent and (_is_ours(record) or record.levelno >= self.foreign_level):
            self._write([self._reword(line) for line in self._lines(record)])

    def end(self, last_line: str) -> None:
        """Write this line as it is, if it is not empty, and no record ever after it; only the first such line."""
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
            self._stream.write("".join(f"{self._clear}{line}\n" for line in lines))
            self._stream.flush()
        except (OSError, ValueError):
            return  # the stream is closed, and there is nowhere to complain

    def _lines(self, record: logging.LogRecord) -> Iterator[str]:
        moment = time.strftime("%H:%M:%SZ", time.gmtime(record.created))
        head = f"{moment} {record.levelname.lower():<7} "
        if not _is_ours(record):
            head += record.name.partition(".")[0] + ": "
        text = _message(record)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            text += ": " + traceback.format_exception_only(error)[-1]
        yield head + single_line(self._redactor.redact(text), LONGEST)
        if error is not None and self._tracebacks:
            for line in self._redactor.redact("".join(traceback.format_exception(error))).splitlines():
                indent = " " * (len(line) - len(line.lstrip()))
                yield f"{head}| {indent}{single_line(line, LONGEST)}"


class Log:
    """The logging of the process from now on."""

    def __init__(self, handler: LineHandler, undo: ExitStack) -> None:
        self._handler = handler
        self._undo = undo

    def end(self, last_line: str = "") -> None:
        """Write this line as it is, if any, and let nothing follow it: not even what other threads still say."""
        self._handler.end(last_line)

    def restore(self) -> None:
        """Put back what was before: for those who set up logging more than once in a process."""
        self._undo.close()


def set_up(
    stream: TextIO, redactor: Redactor, level: str = "info", *, for_operator: bool = False, drawing: bool = False
) -> Log:
    """Send everything that is logged to this stream. `level` holds for our own records: `debug` to `error`.

    Others are heard from `warning` on: below that, their records quote headers and bodies. For the operator, which
    looks for words in the log of a failed pod, each line is reworded so that it finds none. While somebody is `drawing`
    on the stream, each line takes the place of what is drawn.
    """
    ours = logging.getLevelNamesMapping()[level.upper()]
    handler = LineHandler(stream, redactor, ours, for_operator=for_operator, drawing=drawing)
    undo = ExitStack()
    _steal(logging.getLogger(), handler.foreign_level, undo)
    logging.getLogger().addHandler(handler)
    _steal(logging.getLogger(OURS), ours, undo)
    for name in FOREIGN:
        logger = logging.getLogger(name)
        _steal(logger, handler.foreign_level, undo)
        # Some add a handler of their own when they are imported, and that may be later.
        _replace(logger, "addHandler", _refuse_handler, undo)
    _replace(warnings, "showwarning", _show_warning, undo)
    _replace(sys, "excepthook", _uncaught, undo)
    _replace(sys, "unraisablehook", _unraisable, undo)
    _replace(threading, "excepthook", _uncaught_in_thread, undo)
    return Log(handler, undo)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == OURS


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - other people's arguments, which may fail in any way
        return record.msg if isinstance(record.msg, str) else "a record that cannot be shown"


def _steal(logger: logging.Logger, level: int, undo: ExitStack) -> None:
    undo.callback(logger.setLevel, logger.level)
    logger.setLevel(level)
    _replace(logger, "propagate", True, undo)
    _replace(logger, "handlers", [], undo)


def _replace(target: object, name: str, value: object, undo: ExitStack) -> None:
    undo.callback(setattr, target, name, getattr(target, name))
    setattr(target, name, value)


def _refuse_handler(_handler: logging.Handler) -> None:
    """Stand in for `addHandler`."""


def _show_warning(message: Warning | str, category: type[Warning], *_where: object) -> None:
    log.warning("%s: %s", category.__name__, message)


def _uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    log.critical("uncaught", exc_info=error)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "?"
    log.critical("uncaught in thread %s", name, exc_info=args.exc_value)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    log.warning("%s %r", args.err_msg or "ignored in", args.object, exc_info=args.exc_value)
