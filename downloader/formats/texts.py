"""What JSON beside the weights makes a library load: code of the repository, layers of Keras, templates of chats."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from downloader.formatting import names_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.formats.content import Content

LARGEST: Final = 16 << 20
"""Bytes of a JSON file that are read."""
_KERAS: Final = frozenset({"keras", "keras_hub", "keras_nlp", "keras_cv", "builtins", "tensorflow", "tf_keras"})
_ESCAPES: Final = re.compile(r"__\w+__|\|\s*attr\b")
"""What a template of Jinja needs to reach objects of Python that it was not given."""


def parsed(content: Content) -> Any:  # noqa: ANN401 - anything that JSON can say
    """Return what a JSON file says. Raises ValueError or RecursionError for one that is not JSON, or is too large."""
    if content.size > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    return json.loads(content.exactly(0, content.size))


def remote_code(value: Any) -> str:  # noqa: ANN401
    """Return what the configuration of a model names as its own code; empty if that is nothing."""
    named = value.get("auto_map") if isinstance(value, dict) else None
    if not named:
        return ""
    values = named.values() if isinstance(named, dict) else [named]
    texts = {str(item) for value in values for item in (value if isinstance(value, list) else [value]) if item}
    return names_text(texts, 3)


def template_escapes(text: Any) -> bool:  # noqa: ANN401
    """Tell whether a template, or one of several, asks for attributes that lead out of it."""
    return bool(_ESCAPES.search(text if isinstance(text, str) else json.dumps(text)))


def keras_code(value: Any) -> str:  # noqa: ANN401
    """Return what the configuration of a Keras model would make run; empty if that is nothing."""
    for found in _objects(value):
        kind, module = found.get("class_name"), found.get("module")
        if kind in ("Lambda", "__lambda__"):
            return "has a Lambda layer of Keras"
        if kind is not None and isinstance(module, str) and module.partition(".")[0] not in _KERAS:
            return f"makes Keras import {names_text([module])}"
    return ""


def _objects(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Yield every object in it. Not recursive: they may be nested deeply."""
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            yield value
            todo += value.values()
        elif isinstance(value, list):
            todo += value
