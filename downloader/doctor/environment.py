"""The variables: which are read, which cannot be, and which were probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.config import invalid
from downloader.config.warnings import known_names, near_names
from downloader.doctor.finding import note, ok, problem
from downloader.formatting import names_text
from downloader.runs.wiring import sequence_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from downloader.config import Settings
    from downloader.doctor.finding import Finding
    from downloader.sources.registry import ArtifactUri

MAX_NAMED = 12
NAME = "environment"


def check_environment(
    environ: Mapping[str, str], settings: Settings, problems: Sequence[str], uri: ArtifactUri | None
) -> Iterator[Finding]:
    """Yield what is wrong with the variables, or the names of those that are read."""
    for sentence in problems:
        yield problem(NAME, invalid([sentence]))
    section = settings.s3.warnings if uri is not None and uri.scheme.section is type(settings.s3) else ()
    for sentence in (*settings.warnings, *section, *near_names(environ)):
        yield note(NAME, sentence, "correct the name or the value, or unset it")
    ignored = _ignored_protocols(settings, uri)
    if uri is not None and ignored:
        sequence = ",".join(sequence_for(uri, settings))
        yield note(
            NAME,
            f"AIM_DOWNLOADER_PROTOCOL names {ignored}, which cannot bring {uri.prefix}: {sequence} is used",
            "nothing, unless another protocol was meant",
        )
    read = {name for name in known_names() if environ.get(name, "").strip()}
    if not problems:
        yield ok(NAME, f"read: {names_text(read, MAX_NAMED)}" if read else "no variable of ours is set: the defaults")


def _ignored_protocols(settings: Settings, uri: ArtifactUri | None) -> str:
    fitting = uri.scheme.fitting if uri is not None else frozenset(settings.job.sequence)
    return ",".join(protocol for protocol in settings.job.sequence if protocol not in fitting)
