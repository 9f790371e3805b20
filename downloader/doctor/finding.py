"""What the checks have found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from downloader.errors import Verdict, explained
from downloader.formatting import single_line
from downloader.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.errors import DownloadError

SCHEMA = 1
"""Raised when a member of the JSON form goes away or changes its meaning."""
PASSES = "it may pass: try again later, and check the server, the network and the proxy"
MAX_LENGTH = 1000
"""Characters of a text or a remedy."""


class Level(StrEnum):
    """How good a finding is."""

    OK = "ok"
    NOTE = "note"
    """A download starts, but something is not as it could be, or is not what was meant."""
    PROBLEM = "problem"
    """A download would not start, or would fail before its first byte."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found, in words."""

    check: str
    """Its name, such as `tls`. Several findings may have the same: there is one for each host."""
    level: Level
    text: str
    remedy: str = ""
    """What to do about it; empty where there is nothing to do."""
    host: str = ""
    """The host and port that it is about, if it is about one."""
    error: DownloadError | None = field(default=None, compare=False)
    """Of a problem: the error with which a download would end."""

    def with_texts(self, change: Callable[[str], str]) -> Finding:
        """Return the same with its texts changed, and each on one line."""
        text, remedy = (single_line(change(text), MAX_LENGTH) for text in (self.text, self.remedy))
        return replace(self, text=text, remedy=remedy, host=single_line(change(self.host), MAX_LENGTH))

    def as_note(self) -> Finding:
        """Return the same as a note, where a download can do without what has failed."""
        return replace(self, level=Level.NOTE, error=None) if self.level is Level.PROBLEM else self

    @property
    def exit_status(self) -> int:
        """The exit status that a download would have; 0 if it would start."""
        return self.error.exit_status if self.error is not None else 0


def ok(check: str, text: str, host: str = "") -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Level.OK, text, host=host)


def note(check: str, text: str, remedy: str, host: str = "") -> Finding:
    """Return a finding that does not keep a download from starting."""
    return Finding(check, Level.NOTE, text, remedy, host)


def problem(check: str, error: DownloadError, *, host: str = "", text: str = "", remedy: str = "") -> Finding:
    """Return a finding that a download would end with this error; text and remedy are the error's own by default."""
    usual = PASSES if error.verdict is Verdict.RETRY else f"{explained(error.exit_status)} says more"
    return Finding(check, Level.PROBLEM, text or error.message, remedy or error.hint or usual, host, error)


STAGES = ("uri", "environment", "target", "credentials", "source", "bytes", "xet", "write", "space")
"""The checks in the order in which a download would fail for them; all others come with the source."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, in the order of the checks."""

    uri: str
    """The URI as it may be shown; empty if none was given."""
    target: str
    findings: tuple[Finding, ...]

    @property
    def error(self) -> DownloadError | None:
        """The error with which a download would end; None if it would start."""
        problems = [finding for finding in self.findings if finding.error is not None]
        return min(problems, key=_stage).error if problems else None

    @property
    def exit_status(self) -> int:
        """The exit status that a download would have; 0 if it would start."""
        return self.error.exit_status if self.error is not None else 0

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form, which docs/doctor.md describes."""
        return {
            "schema": SCHEMA,
            "version": __version__,
            "uri": self.uri or None,
            "target": self.target,
            "exitStatus": self.exit_status,
            "findings": [
                {
                    "check": finding.check,
                    "level": str(finding.level),
                    "text": finding.text,
                    "remedy": finding.remedy or None,
                    "host": finding.host or None,
                    "exitStatus": finding.exit_status,
                }
                for finding in self.findings
            ],
        }


def _stage(finding: Finding) -> int:
    return STAGES.index(finding.check if finding.check in STAGES else "source")
