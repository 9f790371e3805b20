"""Steps that other Jobs on the same disk may undo: they are repeated.

Readers, stages, syncs and reapers use the disk at once, without a common lock. A folder that was just made may be
removed again because it is empty, and what is about to be renamed may be moved away. Each process gains something when
it gets in another one's way, so the next attempt nearly always succeeds. The number of attempts is bounded all the
same: a storage system that never shows what was written must end the Job instead of keeping it busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from downloader.errors import VolumeError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

ATTEMPTS: Final = 100


class StepUndone(Exception):
    """Another process has undone a part of the step. The cause, if there is one, is the error that showed it."""


def repeated(step: Callable[[], T], failure: str) -> T:
    """Return what `step` returns, which is repeated for as long as it raises StepUndone.

    Raises VolumeError with the text `failure` after `ATTEMPTS` attempts.
    """
    cause: BaseException | None = None
    for _ in range(ATTEMPTS):
        try:
            return step()
        except StepUndone as undone:
            cause = undone.__cause__
    raise VolumeError(f"{failure}: {cause}" if cause else failure, hint="run again") from cause
