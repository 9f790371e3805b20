"""How a log record is written: as text for people, or as a line of JSON for programs (`docs/events.md`)."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, Any, Final, Protocol

from downloader.events import ATTRIBUTE, SCHEMA, Event
from downloader.formatting import single_line
from downloader.operator_log import json_text, neutralize, neutralize_json

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

    from downloader.redaction import Redactor

OURS: Final = "downloader"
MAX_LENGTH: Final = 2000
"""Characters of a line or of one value: a server's response must not flood the log."""
TEXT, JSON = "text", "json"
FORMATS: Final = (TEXT, JSON)


class LogFormat(Protocol):
    """Makes lines of records. Must not raise, whatever a record holds."""

    def lines(self, record: logging.LogRecord, *, tracebacks: bool) -> Iterator[str]:
        """Yield the lines of a record, redacted and worded for their reader."""


class TextFormat:
    """One line for each record, and one for each line of a traceback."""

    def __init__(self, redactor: Redactor, *, for_operator: bool) -> None:
        self._redactor = redactor
        self._reword = neutralize if for_operator else str

    def lines(self, record: logging.LogRecord, *, tracebacks: bool) -> Iterator[str]:
        """Yield the lines of a record; none for an event that is for programs only."""
        event = _event(record)
        if event is not None and event.json_only:
            return
        head = f"{time.strftime('%H:%M:%SZ', time.gmtime(record.created))} {record.levelname.lower():<7} "
        if not is_ours(record):
            head += record.name.partition(".")[0] + ": "
        yield self._reword(head + single_line(self._redactor.redact(_message(record)), MAX_LENGTH))
        if tracebacks:
            for line in self._redactor.redact(_traceback(record)).splitlines():
                indent = " " * (len(line) - len(line.lstrip()))
                yield self._reword(f"{head}| {indent}{single_line(line, MAX_LENGTH)}")


class JsonFormat:
    """One JSON object for each record. Its `message` is what the text log says."""

    def __init__(self, redactor: Redactor, *, for_operator: bool) -> None:
        self._redactor = redactor
        self._reword = neutralize_json if for_operator else str

    def lines(self, record: logging.LogRecord, *, tracebacks: bool) -> Iterator[str]:
        """Yield the line of a record."""
        event = _event(record)
        facts = head(record.created, record.levelname.lower(), record.name)
        if event is not None:
            facts |= {"event": event.name, **{name: self._safe(value) for name, value in event.facts().items()}}
        if tracebacks and (trace := _traceback(record)):
            facts["traceback"] = [single_line(line, MAX_LENGTH) for line in self._redactor.redact(trace).splitlines()]
        yield self._reword(json_text({**facts, "message": self._safe(_message(record))}))

    def _safe(self, value: Any) -> Any:  # noqa: ANN401 - what a field of an event may be
        return single_line(self._redactor.redact(value), MAX_LENGTH) if isinstance(value, str) else value


def head(moment: float, level: str, logger: str) -> dict[str, Any]:
    """Return the fields that every line has before those of its event; `moment` is seconds since the epoch."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return {"schema": SCHEMA, "time": f"{whole}.{int(moment % 1 * 1000):03}Z", "level": level, "logger": logger}


def is_ours(record: logging.LogRecord) -> bool:
    """Tell whether a record is ours, and not of a library."""
    return record.name.partition(".")[0] == OURS


def _event(record: logging.LogRecord) -> Event | None:
    event = getattr(record, ATTRIBUTE, None)
    return event if isinstance(event, Event) else None


def _message(record: logging.LogRecord) -> str:
    """Return the text of a record, and the last line of its traceback."""
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments of libraries, which may fail in any way
        text = record.msg if isinstance(record.msg, str) else "a record that cannot be shown"
    error = record.exc_info[1] if record.exc_info else None
    return text if error is None else f"{text}: {traceback.format_exception_only(error)[-1]}"


def _traceback(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return "" if error is None else "".join(traceback.format_exception(error))
