"""A folder of a web server that says itself what it holds: in `.artifact.sha256` or `SHA256SUMS`.

A web server lists nothing that could be relied on, so the folder is what its checksum file names. A checksum file that
may have been cut is an error, since what is left of it looks like one of a smaller folder.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from downloader.artifact import Algorithm, Digest, Manifest, shown_url
from downloader.errors import (
    AccessDenied,
    ConnectionBroken,
    DownloadError,
    ProtocolFailed,
    SourceNotFound,
    UnexpectedContent,
    UsageError,
)
from downloader.integrity import HEAD, MARKER, contradiction, parse_checksums
from downloader.network import decoded, is_encoded
from downloader.sources.base import version_of
from downloader.sources.http_errors import map_status_error
from downloader.sources.paths import check_names
from downloader.sources.web_probe import HINT, redirect_hint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from downloader.artifact import RemoteFile
    from downloader.filters import FileFilter
    from downloader.network import HttpClient, Response
    from downloader.sources.http_address import HttpAddress
    from downloader.sources.web_probe import WebProbe

CHECKSUM_FILES = (MARKER, "SHA256SUMS")
"""Asked for in this order: the first is what this program leaves in a folder that it has downloaded."""
HEAD_WORKERS = 2
BATCH = 256
"""Files whose sizes one worker asks for, many of them pipelined: that is quicker than more workers."""
MAX_CHECKSUMS = 64 << 20
"""Bytes of a checksum file: each of its files takes a request of its own, so a longer one would take days."""


class HttpFolder:
    """The files that a folder's checksum file names."""

    def __init__(
        self,
        uri: str,
        address: HttpAddress,
        http: HttpClient,
        headers: Mapping[str, str],
        probe: WebProbe,
        *,
        file_filter: FileFilter,
    ) -> None:
        """`uri` is shown. Files that `file_filter` does not keep are neither validated nor asked for."""
        self._uri = uri
        self._address = address
        self._http = http
        self._headers = headers
        self._probe = probe
        self._file_filter = file_filter
        self._probed: dict[tuple[str, str], RemoteFile] = {}
        """What was learned of files, by path and digest, before a passing error made us list the folder again."""
        self._listed: tuple[str, bytes] | None = None
        """Name and content of the checksum file that `version` has read, for the next manifest."""

    def version(self) -> str:
        """Return a name for the folder's checksum file. Raises what `manifest` does."""
        self._listed = self._checksums()
        return version_of(self._uri, self._listed)

    def manifest(self) -> Manifest:
        """Return the wanted files; size and validator of each take one request.

        Raises SourceNotFound for a folder without a checksum file, UsageError for one with a digest in its URI.
        """
        (name, content), self._listed = self._listed or self._checksums(), None
        listed = {
            path: digest
            for path, digest in parse_checksums(content, f"{self._uri}{name}").files.items()
            if path not in (name, MARKER)  # neither can hold its own checksum
        }
        wanted = frozenset(self._file_filter.choose(listed))
        digests = {path: digest for path, digest in listed.items() if path in wanted}
        if listed and not digests:
            raise self._file_filter.nothing_left(list(listed), self._uri)
        check_names(digests, self._uri)
        unknown = [item for item in digests.items() if item not in self._probed]
        failed = threading.Event()
        with ThreadPoolExecutor(HEAD_WORKERS, thread_name_prefix="head") as pool:
            batches = (unknown[n : n + BATCH] for n in range(0, len(unknown), BATCH))
            list(pool.map(partial(self._probe_all, failed), batches))
        files = [self._probed[item] for item in digests.items()]
        files.sort(key=lambda file: file.path)
        if not files:
            raise SourceNotFound(f"{self._uri}{name} lists no files")
        self._probed.clear()
        version = version_of(self._uri, [name, content])
        whole = name == MARKER and len(digests) == len(listed)
        return Manifest(self._uri, tuple(files), version=version, checksums=content if whole else None)

    def _checksums(self) -> tuple[str, bytes]:
        if self._address.digest is not None:
            raise UsageError(f"{self._uri} is a folder: a digest in the URI is for a single file")
        first: DownloadError | None = None
        for name in CHECKSUM_FILES:
            reply = self._http.fetch(self._address.below(name), headers=self._headers, limit=MAX_CHECKSUMS)
            error = self._no_list(reply, name)
            if error is None:
                return name, _content(reply)
            # Where the first is denied, the second may be there; if not, the denial says more than its absence.
            if not isinstance(error, SourceNotFound | AccessDenied | UnexpectedContent):
                raise error
            if not isinstance(error, SourceNotFound):
                first = first or error
        if first is not None:
            raise first
        raise SourceNotFound(
            f"{self._uri} holds neither {CHECKSUM_FILES[0]} nor {CHECKSUM_FILES[1]}, so its files cannot be known",
            hint="name a single file, or put a checksum list into the folder",
        )

    def _no_list(self, reply: Response, name: str) -> DownloadError | None:
        """Return why an answer is not a checksum file; None if it may be one."""
        # Many servers hand out no file whose name begins with a dot, and answer 403, or a page of their own.
        if reply.status == HTTPStatus.OK:
            found = contradiction(name, len(reply.body), reply.body[:HEAD], vouched=False)
            hint = redirect_hint(self._address.below(name), reply.url) or "check the URI"
            return UnexpectedContent(f"{self._uri}{name} {found}", hint=hint) if found else None
        error = reply.status_error()
        return map_status_error(error, self._uri + name, hint=HINT, asked=self._address.url)

    def _probe_all(self, failed: threading.Event, listed: Sequence[tuple[str, str]]) -> None:
        """Learn of these files. An error of one batch sets `failed`, which ends the others."""
        urls = [self._address.below(path) for path, _ in listed]
        digests = [Digest(Algorithm.SHA256, sha256) for _, sha256 in listed]
        try:
            with contextlib.closing(self._probe.describe_all(urls, digests)) as described:
                for (path, sha256), url, digest, (reply, size) in zip(listed, urls, digests, described, strict=True):
                    self._probed[path, sha256] = self._probe.file(reply, size, url, path, digest)
                    if failed.is_set():
                        return
        except BaseException:
            failed.set()
            raise


def _content(reply: Response) -> bytes:
    """Return the bytes of a checksum file. Raises if it may have been cut.

    ConnectionBroken over https, where the server would have said so, and ProtocolFailed over http, where it cannot.
    """
    if is_encoded(reply.headers):
        # The coding has an end of its own, and a checksum.
        return decoded(reply.body, reply.headers, MAX_CHECKSUMS, shown_url(reply.url))
    if reply.complete:
        return reply.body
    where = shown_url(reply.url)
    if urlsplit(reply.url).scheme == "https":
        raise ConnectionBroken(f"{where} ended in the middle: no length was sent, and no close_notify")
    raise ProtocolFailed(
        f"{where} is sent without its length, so it may be incomplete",
        hint="let the server send Content-Length, or chunks",
    )
