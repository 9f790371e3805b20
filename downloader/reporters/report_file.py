"""Writes files that programs read: whole or not at all, and never over a file that is not ours."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from downloader.formatting import single_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from downloader.redaction import Redactor
    from downloader.reporters.run_report import FileReport, RunReport

BATCH: Final = 500
"""Files whose lines are made at once."""
MAX_LENGTH: Final = 2000
"""Characters of one text."""
OPENING: Final = b'{"schema": '
"""How a report begins: another file of its name is not replaced."""


class ForeignFile(OSError):
    """Another file has the name."""


def write_report(report: RunReport, path: Path, redactor: Redactor) -> None:
    """Write a report as JSON, one file of the artifact per line. Raises OSError."""
    write_whole(path, OPENING, _encoded(report, redactor))


def write_whole(path: Path, opening: bytes, parts: Iterable[bytes]) -> None:
    """Write a file under another name, sync it and rename it.

    Raises OSError; ForeignFile if there is something of that name that does not begin with `opening`.
    """
    real = path.resolve()
    _require_ours(real, opening)
    temporary = real.with_name(f".{real.name}.{os.getpid()}.{threading.get_ident()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(real)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _require_ours(path: Path, opening: bytes) -> None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise ForeignFile("it is not a file")
    if found.st_size:
        with path.open("rb") as file:
            if file.read(len(opening)) != opening:
                raise ForeignFile("there is another file of that name, which is not replaced")


def _encoded(report: RunReport, redactor: Redactor) -> Iterator[bytes]:
    head = json.dumps(_safe(report.facts(), redactor))
    yield f'{head[:-1]}, "files": ['.encode()
    separator = "\n"
    files = report.files()
    while batch := list(islice(files, BATCH)):
        lines = [json.dumps(file._asdict()) for file in _safe_paths(batch, redactor)]
        yield (separator + ",\n".join(lines)).encode()
        separator = ",\n"
    yield b"\n]}\n"


def _safe(value: Any, redactor: Redactor) -> Any:  # noqa: ANN401 - any value of JSON
    if isinstance(value, str):
        return single_line(redactor.redact(value), MAX_LENGTH)
    if isinstance(value, dict):
        return {name: _safe(member, redactor) for name, member in value.items()}
    return [_safe(member, redactor) for member in value] if isinstance(value, list) else value


def _safe_paths(files: Sequence[FileReport], redactor: Redactor) -> Sequence[FileReport]:
    """Redact paths. Of a batch without secrets, which is almost every one, all are looked at together."""
    together = "\n".join(file.path for file in files)
    if redactor.redact(together) == together:
        return files
    return [file._replace(path=redactor.redact(file.path)) for file in files]
