"""Settings that a program gives by name: their values mean what they mean in an environment variable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from downloader.config.env import Malformed, documented, flag, items, shown_value
from downloader.config.formats import FormatSettings
from downloader.config.job import JobSettings
from downloader.config.mirrors import Mirrors, mirrors
from downloader.config.reporting import ReportingSettings
from downloader.config.secret_values import PartlySecret
from downloader.config.sharing import SharingSettings
from downloader.config.signing import SignatureSettings
from downloader.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

SECTIONS = (JobSettings, ReportingSettings, SignatureSettings, FormatSettings, SharingSettings)
VARIABLES = {name: facts for section in SECTIONS for name, facts in documented(section)}


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of fields of a run, each a value or its text; None stands for one that is not given.

    Raises UsageError for a value that the variable of the field may not have either.
    """
    return {name: _value(name, value) for name, value in options.items() if value is not None}


def _value(name: str, value: Any) -> Any:  # noqa: ANN401 - of any field
    parse = VARIABLES[name].parse
    try:
        if parse is items:  # one glob for each item: it may contain a comma
            return _texts(value)
        if parse is mirrors and not isinstance(value, str | Mirrors):
            return Mirrors.of(_texts(value))
        if parse is flag and isinstance(value, bool):
            return value
        if isinstance(value, PartlySecret):  # its text has no password
            return value
        return parse(",".join(_texts(value)) if isinstance(value, tuple | list) else str(value).strip())
    except Malformed as error:
        raise UsageError(f"{name}={shown_value(str(value))} is not {error}") from error


def _texts(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - as above
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, tuple | list) else (None,)
    if not all(isinstance(text, str) for text in texts):
        raise Malformed("a list of texts")
    return texts
