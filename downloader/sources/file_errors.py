"""What the file system of a source refuses, as errors of a source: the volume that is filled is another one."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from downloader.error_map import ErrorRow, map_error
from downloader.errors import (
    AccessDenied,
    ConfigurationError,
    DownloadError,
    SourceChanged,
    SourceNotFound,
    SourceUnavailable,
    VolumeError,
)
from downloader.filesystem import InTheWay, NotThere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REPLACED = "run it again to read what is there now"


def _number(*numbers: int) -> Callable[[VolumeError], bool]:
    return lambda error: isinstance(error.__cause__, OSError) and error.__cause__.errno in numbers


_WHILE_LISTING: tuple[ErrorRow[VolumeError, DownloadError], ...] = (
    ErrorRow(
        lambda error: isinstance(error, NotThere), SourceNotFound, "{uri} does not exist on this machine", "{look}"
    ),
    ErrorRow(
        _number(errno.EACCES, errno.EPERM),
        AccessDenied,
        "{uri} cannot be read: {message}",
        "it must be readable for user {user}, group {group}",
    ),
    ErrorRow(
        lambda error: isinstance(error, InTheWay),
        ConfigurationError,
        "{uri} cannot be read: {message}",
        "name a folder or a regular file",
    ),
)
_WHILE_READING: tuple[ErrorRow[VolumeError, DownloadError], ...] = (
    ErrorRow(lambda error: isinstance(error, NotThere), SourceNotFound, "{uri} lacks a file: {message}", _REPLACED),
    ErrorRow(
        lambda error: isinstance(error, InTheWay),
        SourceChanged,
        "{uri} has changed: {message}",
        _REPLACED,
    ),
)
LOOK = "check the path, and that the volume is mounted here"


@contextmanager
def errors_of(uri: str, *, listed: bool = False) -> Iterator[None]:
    """Turn what goes wrong at the file system of a source into what a source may raise.

    `listed`: the artifact was listed before, so that what is not there any more has changed.
    """
    try:
        yield
    except VolumeError as error:
        rows = (*(_WHILE_READING if listed else ()), *_WHILE_LISTING)
        facts = {"uri": uri, "message": error.message, "user": os.geteuid(), "group": os.getegid(), "look": LOOK}
        ours = map_error(rows, error, **facts)
        hint = "see the node's kernel log and the storage system"
        raise ours or SourceUnavailable(f"{uri} cannot be read: {error.message}", hint=hint) from error
