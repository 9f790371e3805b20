"""The command `doctor`: findings as lines or as JSON, and the exit status that a download would have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from downloader.api import diagnose

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.cli.context import CommandContext
    from downloader.doctor import Finding
    from downloader.sources.registry import ArtifactUri


def examine(
    uri: ArtifactUri | None,
    target: Path | None,
    context: CommandContext,
    *,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Write what the checks find to stdout. Raises the error with which a download would end."""
    # What is reported here is not a run: neither the termination message nor the status of an AIMArtifact is about it.
    context.ending_reported = True
    if not context.level_chosen and not context.environ.get("AIM_LOG_LEVEL", "").strip():
        context.logs.set_level("error")  # what else there is to say is among the findings
    found = diagnose(
        uri,
        target,
        environ=context.environ,
        runner=context.runner(),
        redactor=context.redactor,
        for_operator=context.for_operator,
        on_finding=lambda finding: None if as_json else context.write(line_of(finding)),
        **options,
    )
    if as_json:
        context.write(json.dumps(found.as_json()) + "\n")
    if found.error is not None:
        raise found.error


def line_of(finding: Finding) -> str:
    """Return the line of a finding."""
    remedy = f" ({finding.remedy})" if finding.remedy else ""
    return f"{finding.level:<7}  {finding.check:<11}  {finding.text}{remedy}\n"
