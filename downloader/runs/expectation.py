"""Reads what a team has signed off: the digest that the settings name, and the list of files from its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.errors import ConfigurationError, IntegrityError
from downloader.integrity import MAX_LIST_SIZE, Expectation, parse_checksums
from downloader.runs.small_files import SmallFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.config import Settings
    from downloader.runs.runner import Runner
    from downloader.sources.registry import ArtifactUri

NAMES = "--expect-list, AIM_EXPECTED_LIST"


def read_expectation(settings: Settings, runner: Runner, uri: ArtifactUri | None = None) -> Expectation:
    """Return what the artifact has to be, after reading the list. Waits for the network if the list is there.

    `uri` names the artifact: its credentials are sent to no other host. Raises ConfigurationError for a list that
    cannot be read or understood, and what a source raises.
    """
    job = settings.job
    if job.expect_list is None:
        return Expectation(job.expect_digest)
    raw = SmallFile(job.expect_list, "the expected list", NAMES, MAX_LIST_SIZE).read(settings, runner, uri)
    name = str(job.expect_list)
    return Expectation(job.expect_digest, _parsed(raw, name), name)


def _parsed(raw: bytes, name: str) -> Mapping[str, str]:
    try:
        files = parse_checksums(raw, name).files
    except IntegrityError as error:
        raise ConfigurationError(f"the expected list is not usable: {error.message}", hint=NAMES) from error
    if not files:
        raise ConfigurationError(f"the expected list {name} has no files", hint=NAMES)
    return files
