"""What JSON beside the weights makes a library load: code of the repository, layers of Keras, templates of chats."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from downloader.formatting import names_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.formats.content import Content

MAX_SIZE: Final = 4 << 20
"""Bytes of a JSON file that are read."""
MAX_VALUES: Final = 1_000_000
"""Values in it."""
_KERAS: Final = frozenset({"keras", "keras_hub", "keras_nlp", "keras_cv", "builtins", "tensorflow", "tf_keras"})
_RUNS_CODE: Final = frozenset({"Lambda", "__lambda__", "TorchModuleWrapper"})
_MATHEMATICS: Final = frozenset({"activations", "initializers", "losses", "metrics", "regularizers", "constraints"})
"""Modules of Keras whose functions a configuration may name. Others fetch files, or load them."""
_LIBRARIES: Final = frozenset({"transformers", "peft", "diffusers", "sentence_transformers"})
_ESCAPES: Final = re.compile(r"__\w+__|\|\s*attr\b")
"""What a template of Jinja needs to reach objects of Python that it was not given."""


def parsed(content: Content) -> Any:  # noqa: ANN401 - anything that JSON can say
    """Return what a JSON file says. Raises ValueError or RecursionError for one that is not JSON, or is too large."""
    if content.size > MAX_SIZE:
        raise ValueError(f"it has more than {MAX_SIZE} bytes")
    raw = content.exactly(0, content.size)
    if sum(map(raw.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise ValueError(f"it has more than {MAX_VALUES} values")
    return json.loads(raw)


def is_configuration(name: str) -> bool:
    """Tell whether libraries find a configuration under this name, which may name code."""
    return name in ("config.json", "modules.json", "chat_template.json") or name.endswith("_config.json")


def remote_code(value: Any, *, modules: bool = False) -> str:  # noqa: ANN401
    """Return what the configuration of a model makes a library run besides itself; empty if that is nothing.

    `modules`: it is the list of modules that sentence-transformers imports.
    """
    return names_text(sorted({name for found in _objects(value) for name in _named(found, modules=modules)}), 3)


def _named(found: dict[str, Any], *, modules: bool) -> Iterator[str]:
    """Yield the code that an object names."""
    named = found.get("auto_map")
    for value in named.values() if isinstance(named, dict) else [named]:
        yield from (str(item) for item in (value if isinstance(value, list) else [value]) if item)
    for name in ("attn_implementation", "_attn_implementation"):  # a repository of the Hub with a kernel
        given = found.get(name)
        for text in given.values() if isinstance(given, dict) else [given]:
            if isinstance(text, str) and "/" in text:
                yield text
    peft = found.get("auto_mapping")
    imported = [found.get("type")] if modules else []
    imported += [peft.get("parent_library")] if isinstance(peft, dict) else []
    for module in imported:
        if isinstance(module, str) and module.partition(".")[0] not in _LIBRARIES:
            yield module


def template_escapes(text: Any) -> bool:  # noqa: ANN401
    """Tell whether a template, or one of several, asks for attributes that lead out of it."""
    return bool(_ESCAPES.search(text if isinstance(text, str) else json.dumps(text)))


def keras_code(value: Any) -> str:  # noqa: ANN401
    """Return what the configuration of a Keras model would make run; empty if that is nothing."""
    for found in _objects(value):
        kind, module = found.get("class_name"), found.get("module")
        if kind in _RUNS_CODE if isinstance(kind, str) else kind is not None:
            return f"has a {names_text([str(kind)])} layer of Keras"
        if kind == "function" and (not isinstance(module, str) or _MATHEMATICS.isdisjoint(module.split("."))):
            return f"makes Keras look up the function {names_text([str(found.get('config'))])}"
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
