"""Steps that other Jobs may undo are repeated, and not for ever."""

from __future__ import annotations

import pytest

from downloader.adapters.contention import ATTEMPTS, StepUndone, repeated
from downloader.errors import NoSpace, VolumeError
from downloader.filesystem import NotThere


class Step:
    """A step that fails with each of these errors first."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.attempts = 0

    def __call__(self) -> int:
        self.attempts += 1
        if self._errors:
            error = self._errors.pop(0)
            if isinstance(error, NoSpace):
                raise error
            raise StepUndone from error
        return 42


def test_a_step_that_was_undone_is_repeated() -> None:
    step = Step(NotThere("gone"), NotThere("gone again"))
    assert repeated(step, "it cannot be done") == 42
    assert step.attempts == 3


def test_any_other_error_ends_the_repetitions() -> None:
    step = Step(NoSpace("full"))
    with pytest.raises(NoSpace):
        repeated(step, "it cannot be done")
    assert step.attempts == 1


def test_a_step_that_is_undone_each_time_fails_with_the_last_cause() -> None:
    step = Step(*(RuntimeError(f"undone {number}") for number in range(ATTEMPTS + 1)))
    with pytest.raises(VolumeError, match=f"it cannot be done: undone {ATTEMPTS - 1} ") as caught:
        repeated(step, "it cannot be done")
    assert step.attempts == ATTEMPTS
    assert isinstance(caught.value.__cause__, RuntimeError)
