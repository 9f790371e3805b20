"""The JSON of the Hub's API: what an answer says, and what is wrong with one that says nothing."""

from __future__ import annotations

import json
from typing import Any, Protocol

from downloader.artifact import shown_url
from downloader.errors import ProtocolFailed, SourceUnavailable

CONTAINERS = {"{": "}", "[": "]"}


class Answer(Protocol):
    """What the library's client returns."""

    @property
    def url(self) -> object:
        """Where it came from."""

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """Return what it says. Raises JSONDecodeError."""


def said(answer: Answer) -> Any:  # noqa: ANN401 - JSON
    """Return what an answer says. Raises SourceUnavailable for one that was cut, JSONDecodeError for any other text."""
    try:
        return answer.json()
    except json.JSONDecodeError as error:
        if not _is_cut(error):
            raise
        # Its length was right, or none was told: a server or a gateway gave up in the middle of writing it.
        raise SourceUnavailable(f"{shown_url(str(answer.url))} answers with JSON that ends in the middle") from error


def entries_of(page: Answer) -> list[Any]:
    """Return the entries of a page of a listing. Raises ProtocolFailed for anything else, and what `said` does."""
    entries = said(page)
    if not isinstance(entries, list):
        raise ProtocolFailed(f"{shown_url(str(page.url))} does not list files")
    return entries


def _is_cut(error: json.JSONDecodeError) -> bool:
    """Tell whether a text is the beginning of JSON, or nothing at all."""
    text = error.doc.strip()
    if not text:
        return True
    end = CONTAINERS.get(text[0])
    return end is not None and (error.pos >= len(text) or text[-1] != end)


def what_it_is(error: Exception) -> str:
    """Return what is wrong with an answer over which the library stumbled, in words that are not Python's."""
    if isinstance(error, json.JSONDecodeError):
        return "with a web page" if error.doc.lstrip().startswith("<") else "with something other than JSON"
    if isinstance(error, KeyError):
        return f"without the field {str(error.args[0])[:80]!r}" if error.args else "without a field"
    return "in a form that the Hub's API does not have"
