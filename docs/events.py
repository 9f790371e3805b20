"""Makes docs/events.md and the JSON schema of the log's lines from `downloader/events.py`."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import TYPE_CHECKING, Any

from downloader.config.job import LOG_LEVELS
from downloader.events import EVENTS, SCHEMA

if TYPE_CHECKING:
    from downloader.events import Event

SCHEMA_FILE = f"events-{SCHEMA}.json"
TYPES = {"str": "string", "int": "integer", "float": "number", "None": "null"}
HEAD = f"""# JSON log

Generated from `downloader/events.py` by `make docs`. With `--log-format json` (`AIM_LOG_FORMAT=json`), each line on
stderr is one JSON object in plain ASCII:

```json
{{"schema": 1, "time": "2026-11-28T22:47:48.123Z", "level": "info", "logger": "downloader.engine.engine",
 "event": "attempt_started", "protocol": "XET", "attempt": 1, "attempts": 3, "files": 12,
 "message": "attempt 1 of 3: XET, 12 files missing"}}
```

(here on three lines). The schema of a line is [events-{SCHEMA}.json](schemas/{SCHEMA_FILE}).

| field | value |
|---|---|
| `schema` | {SCHEMA}. It is raised when a field or an event changes or goes away; new ones may come at any time |
| `time` | RFC 3339, UTC, with milliseconds |
| `level` | `debug`, `info`, `warning`, `error` or `critical`; `--log-level` says from which on lines are written |
| `logger` | the module that wrote the line, for support; it may change |
| `event` | one of those below, with the fields that are listed there; absent from other lines |
| `traceback` | lines of a traceback, at the level `debug` only |
| `message` | what the text log says: without secrets, on one line, for people. Always the last field |

- The last line of a command that fails has the event `failed`. Nothing follows it.
- `--quiet` leaves warnings, errors and the last line.
- Results, such as the JSON object of `size`, go to stdout as always.
- Where the log is worded for the [operator](operator.md), words that it would classify are broken by an escape, such as
  `s\\u0033` for `s3`. A JSON parser returns the original text.
- A second SIGTERM may leave an empty line before the last one. What comes before the arguments are read, such as an
  interpreter that cannot start, is not JSON.

## Events
"""


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for event in EVENTS:
        doc = inspect.getdoc(event)
        parts.append(f"\n### {event.name}\n\n{doc}\n\n| field | type | meaning |\n|---|---|---|\n")
        for item in dataclasses.fields(event):
            types = " or ".join(types_of(item))
            parts.append(f"| `{item.name}` | {types} | {item.metadata['meaning']} |\n")
    return "".join(parts)


def types_of(item: dataclasses.Field[Any]) -> list[str]:
    """Return the JSON types of a field."""
    return [TYPES[part] for part in str(item.type).split(" | ")]


def schema_text() -> str:
    """Return the JSON schema of a line."""
    return json.dumps(schema(), indent=2) + "\n"


def schema() -> dict[str, Any]:
    """Return the schema: fields of every line, and those of each event."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of the JSON log of artifact-downloader, version {SCHEMA}",
        "type": "object",
        "required": ["schema", "time", "level", "logger", "message"],
        "properties": {
            "schema": {"const": SCHEMA},
            "time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
            "level": {"enum": [*LOG_LEVELS, "critical"]},
            "logger": {"type": "string"},
            "event": {"enum": [event.name for event in EVENTS]},
            "traceback": {"type": "array", "items": {"type": "string"}},
            "message": {"type": "string"},
        },
        "allOf": [_fields_of(event) for event in EVENTS],
    }


def _fields_of(event: type[Event]) -> dict[str, Any]:
    items = dataclasses.fields(event)
    return {
        "if": {"properties": {"event": {"const": event.name}}, "required": ["event"]},
        "then": {
            "properties": {item.name: {"type": types_of(item)} for item in items},
            "required": [item.name for item in items],
        },
    }
