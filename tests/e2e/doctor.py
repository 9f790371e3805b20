"""Runs `doctor --json` and sorts what it finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema

from tests.command import Result, finish, start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = json.loads(Path("docs/schemas/doctor-1.json").read_text())
Findings = dict[str, list[dict[str, Any]]]


def examine(
    *arguments: str | Path,
    extra: Mapping[str, str],
    through: Sequence[str] = (),
    as_target: bool = False,
) -> tuple[Result, Findings]:
    """Return how the command ended, and its findings by their checks. `as_target`: the argument is the target."""
    if as_target:
        extra, arguments = {**extra, "TARGET_DIR": str(arguments[0])}, ()
    result = finish(start("doctor", "--json", *arguments, extra=extra, through=through))
    report = json.loads(result.stdout)
    jsonschema.validate(report, SCHEMA)
    assert (report["schema"], report["exitStatus"]) == (1, result.status), result
    found: Findings = {}
    for one in report["findings"]:
        assert (one["level"] == "problem") == (one["exitStatus"] != 0), one
        assert one["level"] == "ok" or one["remedy"], one
        found.setdefault(one["check"], []).append(one)
    return result, found


def levels(found: Findings, *checks: str) -> list[str]:
    """Return the levels of these checks."""
    return [one["level"] for check in checks for one in found[check]]


def of_host(found: Findings, check: str, port: int) -> dict[str, Any]:
    """Return what a check found of the host with this port."""
    (one,) = (one for one in found[check] if (one["host"] or "").endswith(f":{port}"))
    return one
