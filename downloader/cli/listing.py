"""The command `list`: the files of an artifact, which of them the filters choose, and the presets that fit."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from downloader.api import list_files
from downloader.formatting import format_count, format_size, single_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from downloader.api import Artifact, ArtifactFile
    from downloader.cli.context import CommandContext
    from downloader.config import Settings
    from downloader.presets import Preset
    from downloader.sources.registry import ArtifactUri

log = logging.getLogger(__name__)


def print_listing(uri: ArtifactUri, settings: Settings, context: CommandContext, *, as_json: bool) -> None:
    """Write the listing to stdout. Raises one of our errors, also where the filters choose nothing."""
    runner = context.runner(settings.job.deadline, grace=0.0)  # a listing leaves nothing behind
    console = context.console(settings)
    try:
        artifact = list_files(uri, settings=settings, runner=runner, on_progress=console.report, everything=True)
    finally:
        console.clear()
    chosen = [file for file in artifact.files if file.chosen]
    part = f"{len(chosen)} of " if len(chosen) < artifact.count else ""
    log.info("%s%s, %s", part, format_count(artifact.count, "file"), format_size(_size(chosen)))
    for preset in artifact.presets:
        files = _of(preset, artifact)
        log.info("--only %s: %s, %s", preset, format_count(len(files), "file"), format_size(_size(files)))
    context.logs.end()
    context.write(context.redactor.redact(_json(artifact) if as_json else _text(artifact)))


def _text(artifact: Artifact) -> str:
    return "".join(map(_line, artifact.files))


def _line(file: ArtifactFile) -> str:
    mark, digest = " " if file.chosen else "-", next(iter(file.digests), "-")
    return f"{mark} {_size_text(file):>9}  {digest:<12}  {single_line(file.path)}\n"


def _json(artifact: Artifact) -> str:
    files = [
        {"path": file.path, "size": file.size, "digests": dict(file.digests), "chosen": file.chosen}
        for file in artifact.files
    ]
    presets = {
        str(preset): {"files": len(files), "size": _size(files)}
        for preset in artifact.presets
        for files in [_of(preset, artifact)]
    }
    chosen = _size(file for file in artifact.files if file.chosen)
    content = {"uri": artifact.uri, "revision": artifact.revision, "size": chosen, "files": files, "presets": presets}
    return json.dumps(content) + "\n"


def _of(preset: Preset, artifact: Artifact) -> list[ArtifactFile]:
    kept = preset.choose([file.path for file in artifact.files])
    return [file for file in artifact.files if file.path in kept]


def _size(files: Iterable[ArtifactFile]) -> int:
    return sum(file.size or 0 for file in files)


def _size_text(file: ArtifactFile) -> str:
    return "?" if file.size is None else format_size(file.size)
