"""The mirrors of an artifact: what each has of it, and whether its bytes arrive. A download can do without any."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from downloader.artifact import Span
from downloader.doctor.finding import note, ok, problem
from downloader.errors import DownloadError
from downloader.formatting import format_count
from downloader.integrity import has_cryptographic_digest
from downloader.runs.wiring import make_source
from downloader.sources import located

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.artifact import Manifest
    from downloader.config import Settings
    from downloader.doctor.finding import Finding
    from downloader.network import HttpClient
    from downloader.sources.registry import ArtifactUri


def check_mirror(uri: ArtifactUri, settings: Settings, manifest: Manifest, client: HttpClient) -> Iterator[Finding]:
    """Yield what a mirror would serve of an artifact. `uri` and `settings` are those of `ArtifactUri.at_mirror`."""
    try:
        with closing(make_source(uri, settings, client)) as source:
            found = located(source, manifest)
            eligible = [file for file in manifest.files if has_cryptographic_digest(file)]
            files = [file.served_as(found[file.path]) for file in eligible if file.path in found]
            count = f"{len(files)} of {format_count(len(manifest.files), 'file')}"
            if not files:
                yield note("mirror", f"{uri.shown} can serve {count}", "check its URI")
                return
            largest = max(files, key=lambda file: file.size)
            if largest.size:
                with closing(source.open(largest, Span(0, 1))) as body:
                    body.readinto(memoryview(bytearray(1)))
        yield ok("mirror", f"{uri.shown} is asked for {count}; the first byte of {largest.path} arrived")
    except DownloadError as error:
        yield problem("mirror", error).as_note()
