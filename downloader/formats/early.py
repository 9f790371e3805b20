"""Judges the first bytes of a file while the others arrive: what they say against it stays true, whatever follows."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Final

from downloader.errors import DownloadError
from downloader.formats import archive, assessment, pickles
from downloader.formats.content import Content
from downloader.formats.risk import Risk
from downloader.formatting import names_text, reason, single_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL: Final = 1 << 20
"""Bytes of a file below which only what begins as a pickle or an archive is worth a look: its end is near."""
MAX_LENGTH: Final = 64 << 20
"""Bytes that are waited for: no header is longer."""
MAX_STEPS: Final = 100_000
"""Instructions of a pickle that are walked each time: far more than those before its first import."""


class NeedsMoreBytes(Exception):
    """A check can go on once the bytes up to `stop` are there."""

    def __init__(self, stop: int) -> None:
        super().__init__(stop)
        self.stop = stop


def foresee(path: str, content: Content, head: bytes, arrived: int) -> tuple[list[Risk], int]:
    """Return what the first `arrived` bytes of a file say against it, and how many would say more; 0 if none would.

    `head` has the very first ones. It is less than `assess` finds: that has to be asked as well once all are there.
    """
    head = head[: assessment.HEAD]
    if len(head) < min(assessment.HEAD, content.size):
        return [], 0
    if content.size < SMALL and not (pickles.is_pickle(head) or head.startswith(archive.LOCAL)):
        return [], 0

    def read(offset: int, count: int) -> bytes:
        if offset + count > arrived:
            raise NeedsMoreBytes(offset + count)
        return content.up_to(offset, count)

    partly = Content(read, content.size)
    checks: list[Callable[[], Iterator[tuple[str, bool]]]] = [
        lambda: assessment.by_magic(head),
        lambda: assessment.headers(path, partly, head),
        lambda: _pickle(path, partly, head),
        lambda: _first_member(partly, head),
    ]
    found: dict[str, bool] = {}
    waits: list[int] = []
    for check in checks:
        try:
            found |= check()
        except NeedsMoreBytes as more:
            waits.append(max(more.stop, 2 * arrived))
        except DownloadError:
            raise
        except Exception as error:  # noqa: BLE001 - as in `assess`
            found[f"cannot be judged: {reason(error)}"] = True
    wanted = min(waits, default=0)
    risks = [Risk(path, single_line(what, 300), refused) for what, refused in found.items()]
    return risks, min(wanted, content.size) if wanted <= MAX_LENGTH else 0


def _pickle(path: str, content: Content, head: bytes) -> Iterator[tuple[str, bool]]:
    if pickles.is_pickle(head) or assessment.is_called_pickle(path):
        yield from ((f"is a pickle that imports {what}", True) for what in _imports(content))


def _first_member(content: Content, head: bytes) -> Iterator[tuple[str, bool]]:
    """Judge the first member of a zip archive: torch writes its pickle there, as it is."""
    if not head.startswith(archive.LOCAL):
        return
    name, method, start = archive.local_header(content, 0)
    if method == zipfile.ZIP_STORED and name.endswith(b".pkl"):
        told = single_line(name.decode(errors="replace"), 100)
        for what in _imports(content.part(start, content.size - start)):
            yield f"has {told}, which is a pickle that imports {what}", True


def _imports(content: Content) -> Iterator[str]:
    """Yield what the pickles at the beginning import, as far as they are there. Raises NeedsMoreBytes for the rest."""
    found = pickles.Walk()
    try:
        pickles.walk(content, 0, pickles.Steps(MAX_STEPS), found)
    except NeedsMoreBytes:
        if not found.imports:
            raise
    if found.imports:
        yield names_text(found.imports, 3)
