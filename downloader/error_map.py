"""Maps what a library raises, or a server answers, to one of our errors: one shape of table, applied by one function.

Each place that meets foreign errors has a table of `ErrorRow`s beside it, and a function `map_…` that says what the
rows look at and which facts their messages may name. The first row that applies counts: special cases stand above
general ones. A row has its reason as a comment where the mapping is not obvious.

    SOCKET_ERRORS = (
        ErrorRow(instance_of(TimeoutError), SourceSilent, "{where} was silent for too long"),
        ErrorRow(instance_of(OSError), ConnectionBroken, "the connection to {where} broke: {why}"),
    )

    map_error(SOCKET_ERRORS, error, where=url, why=reason(error))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SubjectT_contra = TypeVar("SubjectT_contra", contravariant=True)
ErrorT_co = TypeVar("ErrorT_co", bound=Exception, covariant=True)


@dataclass(frozen=True, slots=True)
class ErrorRow(Generic[SubjectT_contra, ErrorT_co]):
    """One row of a table of errors."""

    applies: Callable[[SubjectT_contra], bool]
    """Whether the row is for this exception or answer."""
    error: Callable[..., ErrorT_co]
    """The class of our error."""
    message: str
    """What happened, with facts by their names in braces."""
    hint: str = ""
    """What the user can do about it, with facts as in `message`. Classes without hints have rows without them."""


def map_error(
    table: Iterable[ErrorRow[SubjectT_contra, ErrorT_co]], subject: SubjectT_contra, **facts: object
) -> ErrorT_co | None:
    """Return the error of the first row that applies to `subject`; None if no row does.

    `facts` are inserted as they are: braces in a server's words are not placeholders. The caller raises the error, from
    the exception that it was made of, and sets what only some classes have, such as `Throttled.retry_after`.
    """
    for row in table:
        if row.applies(subject):
            message = row.message.format_map(facts)
            return row.error(message, hint=row.hint.format_map(facts)) if row.hint else row.error(message)
    return None


def instance_of(*classes: type[BaseException]) -> Callable[[BaseException], bool]:
    """Apply to exceptions of these classes."""
    return lambda error: isinstance(error, classes)


def one_of(*values: int | str) -> Callable[[int | str], bool]:
    """Apply to these statuses, codes or error numbers."""
    wanted = frozenset(values)
    return lambda value: value in wanted


def always(_: object) -> bool:
    """Apply to whatever no row above is for."""
    return True
