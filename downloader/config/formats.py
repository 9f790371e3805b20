"""The setting of formats that can run code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from downloader.config.env import member, variable


class FormatPolicy(StrEnum):
    """What happens to files that may run code when they are loaded, as in `AIM_FORMATS`."""

    ANY = "any"
    WARN = "warn"
    SAFE = "safe"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSettings:
    """Formats that can run code (docs/trust.md)."""

    formats: FormatPolicy = variable(
        "AIM_FORMATS",
        "files that may run code when a model is loaded, judged by content: `safe` publishes no artifact that has one,"
        " `warn` names them in the log and the report, `any` does not look",
        parse=member(FormatPolicy),
        default=FormatPolicy.ANY,
        default_text="`any`",
        option="--formats POLICY",
    )
