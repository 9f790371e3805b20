"""Reads environment variables into frozen settings. Each field declares its variable, its meaning and its parser.

All problems are collected, so that one message can name them. The reference page is made with `documented`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

S = TypeVar("S")
EnumT = TypeVar("EnumT", bound=StrEnum)
VARIABLE = "variable"
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
SECONDS_OF = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""Letter behind the number of a duration → seconds."""
MAX_SECONDS = 1e9
"""Thirty years: timers cannot wait much longer."""
MAX_DIGITS = 19
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
TOKEN = re.compile(r"[\x21-\x7e]+")
BEARER = re.compile(r"bearer(?:\s+|$)", re.IGNORECASE)
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class Malformed(ValueError):
    """A parser does not accept a value; the text says what it accepts."""


@dataclass(frozen=True, slots=True)
class Variable:
    """How one field is read from the environment."""

    names: tuple[str, ...]
    """The first one that is set and not empty is used."""
    meaning: str
    parse: Callable[[str], Any]
    default_text: str
    secret: bool = False
    """The redactor removes its value everywhere, and no message quotes it."""
    keywords: frozenset[str] = frozenset()
    """Values of a secret variable that are not secret: they say something else, and may be shown."""
    option: str = ""
    """The option of the command line that overrides it, and the name of the option's value unless it is a flag."""


def variable(
    names: str,
    meaning: str,
    *,
    parse: Callable[[str], Any] = str,
    default: Any = None,  # noqa: ANN401 - the field's own annotation says what it is
    default_text: str = "",
    secret: bool = False,
    keywords: frozenset[str] = frozenset(),
    option: str = "",
) -> Any:  # noqa: ANN401 - as above
    """Declare a settings field; `names` are separated by spaces, and so are an `option` and the name of its value."""
    shown = default_text or ("not set" if parse is present else _shown_default(default))
    facts = Variable(tuple(names.split()), meaning, parse, shown, secret, keywords, option)
    return field(default=default, metadata={VARIABLE: facts}, repr=not secret)


def _shown_default(default: object) -> str:
    """Return a default as a user would write it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default in (None, "", ()) else str(default)


def read(settings: type[S], environ: Mapping[str, str], problems: list[str]) -> S:
    """Return the settings of an environment; each invalid value adds a line to `problems`, and means the default."""
    values: dict[str, Any] = {}
    for name, facts in documented(settings):
        found = next(((key, text) for key in facts.names if (text := environ.get(key, "").strip())), None)
        if found is None:
            continue
        key, text = found
        try:
            values[name] = facts.parse(text)
        except Malformed as error:
            problems.append(f"{key}: {shown_value(text, secret=facts.secret)} is not {error}")
    return settings(**values)


def shown_value(text: str, *, secret: bool = False) -> str:
    """Return a value as a message may quote it. With an `@` it may be a misspelt URL with a password."""
    return "its value" if secret or "@" in text else repr(text[:80])


def with_files(environ: Mapping[str, str], names: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables of these names, also those whose value is in the file that `NAME_FILE` names.

    A variable whose file cannot be read or is empty counts as unset; the second dictionary has the reason for each.
    """
    values = {name: environ[name] for name in names if name in environ}
    unusable: dict[str, str] = {}
    for name in names:
        place = environ.get(f"{name}_FILE", "").strip()
        if not place or values.get(name, "").strip():
            continue
        values.pop(name, None)
        try:
            content = path(place).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            unusable[name] = f"{name}_FILE: {place} cannot be read ({why})"
        else:
            if content:
                values[name] = content
            else:
                unusable[name] = f"{name}_FILE: {place} is empty"
    return values, unusable


def documented(settings: type[Any]) -> Iterator[tuple[str, Variable]]:
    """Yield the name and the variable of each field that has one."""
    for item in dataclasses.fields(settings):
        if VARIABLE in item.metadata:
            yield item.name, item.metadata[VARIABLE]


def seconds(text: str) -> float:
    """Parse a positive duration: a number of seconds, or of minutes, hours or days with their letter."""
    value = _in_seconds(text)
    if value is None or value == 0:
        raise Malformed("a positive number of seconds, or a duration such as 90m or 2h")
    return value


def duration(text: str) -> float:
    """Parse a duration as `seconds` does; 0 is allowed."""
    value = _in_seconds(text)
    if value is None:
        raise Malformed("a number of seconds, or a duration such as 90m or 2h")
    return value


def _in_seconds(text: str) -> float | None:
    with_unit = DURATION.fullmatch(text)
    try:
        value = float(with_unit[1]) * SECONDS_OF[with_unit[2]] if with_unit else float(text)
    except ValueError:
        return None
    return value if 0 <= value <= MAX_SECONDS else None


def count(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a parser for whole numbers from `minimum` to `maximum`."""

    def parse(text: str) -> int:
        plain = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
        if not plain or not minimum <= int(text) <= maximum:
            raise Malformed(f"a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def member(kind: type[EnumT]) -> Callable[[str], EnumT]:
    """Return a parser for the values of an enumeration, in upper or lower case."""

    def parse(text: str) -> EnumT:
        try:
            return kind(text.lower())
        except ValueError:
            raise Malformed(f"one of {', '.join(kind)}") from None

    return parse


def flag(text: str) -> bool:
    """Parse true or false."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise Malformed("1/true/yes/on or 0/false/no/off")


def present(_text: str) -> bool:
    """Return True: any value that is not empty enables the operator's debug switches."""
    return True


def items(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list: items are trimmed, empty ones dropped."""
    return tuple(item for part in text.split(",") if (item := part.strip()))


def path(text: str) -> Path:
    """Parse a path. A `~` at its beginning is a home: no shell replaces it in quotes, or in `--option=~/name`."""
    if "\0" in text:
        raise Malformed("a path")
    with suppress(RuntimeError):  # there is no such user
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    return Path(text)


def token(text: str) -> str:
    """Parse a token, without quotes and the word `Bearer`, which are often pasted with it."""
    unquoted = text.strip().strip("\"'").strip()
    scheme = BEARER.match(unquoted)
    bare = unquoted[scheme.end() :].strip("\"'") if scheme else unquoted
    if not TOKEN.fullmatch(bare):
        raise Malformed("a token: one word of plain ASCII")
    return bare


def header_map(text: str) -> dict[str, str]:
    """Parse a JSON object of HTTP headers."""
    headers = string_map(text)
    if not all(HEADER_NAME.fullmatch(name) and HEADER_VALUE.fullmatch(value) for name, value in headers.items()):
        raise Malformed("a JSON object of HTTP headers")
    return headers


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object."""
    value = _json(text)
    if not isinstance(value, dict):
        raise Malformed("a JSON object")
    return value


def string_map(text: str) -> dict[str, str]:
    """Parse a JSON object of strings."""
    value = _json(text)
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise Malformed("a JSON object of strings")
    return value


def string_list(text: str) -> tuple[str, ...]:
    """Parse a JSON list of strings."""
    value = _json(text)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Malformed("a JSON list of strings")
    return tuple(value)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
