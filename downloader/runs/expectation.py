"""Reads what a team has signed off: the digest that the settings name, and the list of files from its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.errors import ConfigurationError, IntegrityError
from downloader.filters import FileFilter
from downloader.formatting import reason
from downloader.integrity import LARGEST_LIST, Expectation, hash_file, parse_checksums
from downloader.integrity import compare_digests as compare
from downloader.runs.wiring import make_client, make_retrying
from downloader.sources.registry import ArtifactUri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.artifact import RemoteFile
    from downloader.config import Settings
    from downloader.config.expected import ExpectedList
    from downloader.runs.runner import Runner
    from downloader.sources import Source

NAMES = "--expect-list, AIM_EXPECTED_LIST"


def read_expectation(settings: Settings, runner: Runner, uri: ArtifactUri | None = None) -> Expectation:
    """Return what the artifact has to be, after reading the list. Waits for the network if the list is there.

    `uri` names the artifact: its credentials are sent to no other host. Raises ConfigurationError for a list that
    cannot be read or understood, and what a source raises.
    """
    job = settings.job
    if job.expect_list is None:
        return Expectation(job.expect_digest)
    name = str(job.expect_list)
    raw = _fetched(job.expect_list, settings, runner, uri) if job.expect_list.is_uri else _read(Path(name))
    return Expectation(job.expect_digest, _parsed(raw, name), name)


def _parsed(raw: bytes, name: str) -> Mapping[str, str]:
    try:
        files = parse_checksums(raw, name).files
    except IntegrityError as error:
        raise ConfigurationError(f"the expected list is not usable: {error.message}", hint=NAMES) from error
    if not files:
        raise ConfigurationError(f"the expected list {name} has no files", hint=NAMES)
    return files


def _read(path: Path) -> bytes:
    try:
        with path.expanduser().open("rb") as file:
            return file.read(LARGEST_LIST + 1)
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(f"the expected list {path} cannot be read: {reason(error)}", hint=NAMES) from error


def _fetched(place: ExpectedList, settings: Settings, runner: Runner, uri: ArtifactUri | None) -> bytes:
    """Return the bytes of the file that a URI names, compared with the digests that its source publishes of it."""
    found = ArtifactUri.parse(place.text)
    settings = _settings_for(found, settings, uri)
    client = make_client(found, settings, runner.meter)
    source = found.source(settings, client, FileFilter())
    try:
        with runner.cancellation.waking(client.abort):
            retrying = make_retrying(source, settings, runner)
            manifest = retrying.manifest()
            if not manifest.single:
                raise ConfigurationError(f"the expected list {place} is a folder and not a file", hint=NAMES)
            return _whole(retrying, manifest.files[0], str(place))
    finally:
        source.close()
        client.close()


def _whole(source: Source, file: RemoteFile, name: str) -> bytes:
    content = bytearray()
    buffer = memoryview(bytearray(1 << 16))
    body = source.open(file, file.span)
    try:
        while (count := body.readinto(buffer)) and len(content) <= LARGEST_LIST:
            content += buffer[:count]
    finally:
        body.close()
    whole = memoryview(content)

    def readinto(offset: int, view: memoryview) -> int:
        piece = whole[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    hasher = hash_file(readinto, len(content), file.digests)
    compare(replace(file, path=name), hasher.results())
    return bytes(content)


def _settings_for(found: ArtifactUri, settings: Settings, uri: ArtifactUri | None) -> Settings:
    """Return the settings without the token and the headers that are meant for the artifact on another web server."""
    if uri is None or not uri.web_origin or not found.web_origin or uri.web_origin == found.web_origin:
        return settings
    return replace(settings, web=replace(settings.web, token="", headers=None))
