"""Reads a small file that the settings name beside the artifact: the list of what is expected, or a signature."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.errors import ConfigurationError
from downloader.filters import FileFilter
from downloader.formatting import reason
from downloader.integrity import compare_digests, hash_file
from downloader.runs.wiring import make_client, make_retrying
from downloader.sources.registry import ArtifactUri

if TYPE_CHECKING:
    from downloader.artifact import RemoteFile
    from downloader.config import Settings
    from downloader.config.file_location import FileLocation
    from downloader.runs.runner import Runner
    from downloader.sources import Source

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file that is read into memory."""

    place: FileLocation
    what: str
    """What it is and where it is named, for messages."""
    hint: str
    limit: int
    """Bytes. Of a longer file, its beginning is returned, which is longer than that."""

    def read(self, settings: Settings, runner: Runner, artifact: ArtifactUri | None) -> bytes:
        """Return its content. Waits for the network if it is there.

        `artifact` is the URI of the run: its credentials are sent to no other host. Raises ConfigurationError for a
        file that cannot be read, and what a source raises.
        """
        if self.place.is_uri:
            return self._fetched(settings, runner, artifact)
        path = Path(str(self.place))
        try:
            with path.expanduser().open("rb") as file:
                return file.read(self.limit + 1)
        except (OSError, RuntimeError) as error:
            raise ConfigurationError(f"{self.what} {path} cannot be read: {reason(error)}", hint=self.hint) from error

    def _fetched(self, settings: Settings, runner: Runner, artifact: ArtifactUri | None) -> bytes:
        """Return the bytes of the file that a URI names, compared with the digests that its source publishes of it."""
        found = ArtifactUri.parse(self.place.text)
        settings = _settings_for(found, settings, artifact)
        with (
            closing(make_client(found, settings, runner.meter)) as client,
            closing(found.source(settings, client, FileFilter())) as source,
            runner.cancellation.waking(client.abort),
        ):
            retrying = make_retrying(source, settings, runner)
            manifest = retrying.manifest()
            if not manifest.single:
                raise ConfigurationError(f"{self.what} {self.place} is a folder and not a file", hint=self.hint)
            return whole(retrying, manifest.files[0], str(self.place), self.limit)


def whole(source: Source, file: RemoteFile, name: str, limit: int) -> bytes:
    """Return the bytes of a file, compared with the digests that its source publishes; `name` is for messages.

    Of one that is longer than `limit`, its beginning is returned, which is longer than that. Raises what a source does.
    """
    content, buffer = bytearray(), memoryview(bytearray(_PIECE))
    with closing(source.open(file, file.span)) as body:
        while len(content) <= limit and (count := body.readinto(buffer)):
            content += buffer[:count]
    if len(content) > limit:
        return bytes(content)
    view_of_all = memoryview(content)

    def readinto(offset: int, view: memoryview) -> int:
        piece = view_of_all[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    hasher = hash_file(readinto, len(content), file.digests)
    compare_digests(replace(file, path=name), hasher.results())
    return bytes(content)


def _settings_for(found: ArtifactUri, settings: Settings, artifact: ArtifactUri | None) -> Settings:
    """Return the settings without the token and the headers that are meant for the artifact on another web server."""
    if artifact is None or not artifact.web_origin or not found.web_origin or artifact.web_origin == found.web_origin:
        return settings
    return replace(settings, web=settings.web.without_credentials())
