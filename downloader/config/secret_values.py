"""Finds the values of the settings that must never be shown: fields that are declared with `secret=True`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from downloader.config.env import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator


@runtime_checkable
class PartlySecret(Protocol):
    """A value that knows which of its parts are secret, such as a URL with a password."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that the redactor has to remove."""


def secrets_of(settings: Any) -> Iterator[str]:  # noqa: ANN401 - any dataclass of settings, with sections or without
    """Yield the texts that the redactor has to remove, from all sections."""
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        facts = item.metadata.get(VARIABLE)
        keywords = facts.keywords if facts is not None else ()
        if isinstance(value, PartlySecret):
            yield from (text for text in value.secrets if text not in keywords)
        elif dataclasses.is_dataclass(value):
            yield from secrets_of(value)
        elif facts is not None and facts.secret:
            yield from (text for text in _texts(value) if text not in keywords)


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in a value; of a mapping, the values of its members at any depth."""
    if isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif value is not None:
        yield str(value)
