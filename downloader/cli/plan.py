"""The command `download --dry-run`: prints what a download would do, and fails where it would not start."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from downloader.api import plan
from downloader.errors import DownloadError, kind_of
from downloader.formatting import format_count, format_size, names_text, single_line
from downloader.runs.target import MARKS
from downloader.volume import FileState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.cli.context import CommandContext
    from downloader.config import Settings
    from downloader.engine import PlannedFile, Preview
    from downloader.sources.registry import ArtifactUri

log = logging.getLogger(__name__)

STATES = {
    FileState.VERIFIED: "keep",
    FileState.UNVERIFIED: "hash",
    FileState.PARTIAL: "resume",
    FileState.MISSING: "fetch",
}
WHOSE = {
    "older": "replaces an older file",
    "other artifact": "replaces a file of another artifact",
    "other program": "replaces a file of another program",
}


def print_plan(uri: ArtifactUri, settings: Settings, context: CommandContext, *, as_json: bool) -> None:
    """Write the plan to stdout. Raises the error that the download would end with, if it would not start."""
    runner = context.runner(settings.job.deadline, grace=0.0)  # nothing is changed: there is nothing to put in order
    console = context.console(settings)
    try:
        preview = plan(uri, settings=settings, environ=context.environ, runner=runner, on_progress=console.report)
    finally:
        console.clear()
    text = json.dumps(_json(preview)) if as_json else "\n".join(_lines(preview))
    context.write(context.redactor.redact(text) + "\n")
    if preview.problems:
        for problem in preview.problems[1:]:
            log.warning("also: %s", problem)
        raise preview.problems[0]


def _lines(preview: Preview) -> Iterator[str]:
    for file in preview.files:
        size = "?" if file.size is None else format_size(file.size)
        yield f"{STATES[file.state]:<6} {size:>9}  {single_line(file.path)}{_remark(file)}"
    revision = f" at {preview.revision}" if preview.revision else ""
    yield f"{preview.uri}{revision}"
    counts = Counter(STATES[file.state] for file in preview.files)
    counted = ", ".join(f"{counts[word]} to {word}" for word in STATES.values() if counts[word])
    yield f"to {preview.target}: {format_count(len(preview.files), 'file')}, {format_size(preview.size)}: {counted}"
    free = "not told" if preview.free_bytes is None else format_size(preview.free_bytes)
    unknown = " and files of unknown size" if any(file.size is None for file in preview.files) else ""
    yield f"fetch {format_size(preview.fetch)}{unknown} by {', '.join(_routes(preview))}"
    yield f"space {format_size(preview.needed_bytes)} needed, {free} free"
    if preview.removed_first:
        yield f"remove first, to make room: {names_text(preview.removed_first)}"
    if preview.stale_bytes:
        yield f"remove {format_size(preview.stale_bytes)} of old partial files"
    if preview.older:
        what = "remove afterwards" if preview.prune else "keep, though the artifact no longer has it (see --prune)"
        yield f"{what}: {names_text(preview.older)}"
    yield f"completion mark: {MARKS[preview.completion]}"
    if preview.complete:
        yield "nothing to do: the artifact is complete"
    else:
        yield "the download would start" if preview.would_start else "the download would not start"


def _routes(preview: Preview) -> list[str]:
    """Return the protocols, in a run with mirrors each with its place."""
    if not preview.places:
        return [str(protocol) for protocol in preview.protocols]
    return [f"{protocol} at {place}" for protocol, place in zip(preview.protocols, preview.places, strict=True)]


def _remark(file: PlannedFile) -> str:
    digest = next(iter(file.digests), "")
    remark = {
        FileState.VERIFIED: f"verified before by {file.proof}",
        FileState.UNVERIFIED: f"compared by {digest or 'sha256, as recorded'}",
        FileState.PARTIAL: f"{format_size(file.present)} are here",
        FileState.MISSING: "" if digest else "no digest published",
    }[file.state]
    if file.same_as:
        remark = f"the same bytes as {single_line(file.same_as)}"
    remarks = [text for text in (remark, WHOSE.get(file.replaces, "")) if text]
    return f"  ({'; '.join(remarks)})" if remarks else ""


def _json(preview: Preview) -> dict[str, Any]:
    return {
        "uri": preview.uri,
        "revision": preview.revision,
        "target": preview.target,
        "wouldStart": preview.would_start,
        "complete": preview.complete,
        "problems": [_problem(error) for error in preview.problems],
        "protocols": list(preview.protocols),
        "places": list(preview.places),
        "size": preview.size,
        "fetch": preview.fetch,
        "space": {"needed": preview.needed_bytes, "free": preview.free_bytes},
        "files": [_file(file) for file in preview.files],
        "older": sorted(preview.older),
        "prune": preview.prune,
        "removedFirst": list(preview.removed_first),
        "staleBytes": preview.stale_bytes,
        "completion": str(preview.completion),
    }


def _problem(error: DownloadError) -> dict[str, Any]:
    return {"error": kind_of(error), "exitStatus": error.exit_status, "message": error.message, "hint": error.hint}


def _file(file: PlannedFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "size": file.size,
        "digests": dict(file.digests),
        "state": file.state.value,
        "present": file.present,
        "fetch": file.fetch,
        "verifiedBy": file.proof or None,
        "replaces": file.replaces or None,
        "sameAs": file.same_as or None,
    }
