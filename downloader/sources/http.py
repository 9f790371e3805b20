"""Plain web servers: one file, or a folder that says itself what it holds."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from downloader.artifact import Manifest, RemoteFile, Span, shown_url
from downloader.errors import SourceChanged, UnexpectedContent
from downloader.filters import FileFilter
from downloader.integrity import HEAD, ContentCheck, is_suspicious, proves_itself
from downloader.integrity import HINT as ACCEPT_ANY
from downloader.network import HttpStatusError, RangeRequest
from downloader.sources.base import folder_of
from downloader.sources.content_disposition import proposed_name
from downloader.sources.http_address import HttpAddress, credentials
from downloader.sources.http_errors import map_status_error
from downloader.sources.http_folder import HttpFolder
from downloader.sources.hub_address import uri_of_page
from downloader.sources.paths import check_names
from downloader.sources.web_probe import HINT, WebProbe, redirect_hint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from downloader.network import HttpClient, Response
    from downloader.sources.base import Body


def _unpinned(manifest: Manifest) -> list[RemoteFile]:
    """Return the files of another source without what only that source can say."""
    return [replace(file, validator=None, version=None, xet_hash=None) for file in manifest.files]


class HttpSource:
    """Lists and reads one file, or a folder with `.artifact.sha256` or `SHA256SUMS` in it."""

    def __init__(
        self,
        uri: str,
        http: HttpClient,
        headers: Mapping[str, str],
        netrc_file: Path | None = None,
        content: ContentCheck | None = None,
        *,
        file_filter: FileFilter | None = None,
    ) -> None:
        """Of a folder, leave out what `file_filter` does not keep: it is neither judged nor asked for."""
        self._uri = shown_url(uri)
        self._address = HttpAddress.parse(uri)
        self._http = http
        self._headers = credentials(self._address, headers, netrc_file)
        self._parts_came: set[str] = set()
        """Files of which a part was handed out."""
        self._probe = WebProbe(http, self._headers)
        self._content = content or ContentCheck()
        self._folder = None
        if self._address.folder:
            self._folder = HttpFolder(
                self._uri, self._address, http, self._headers, self._probe, file_filter=file_filter or FileFilter()
            )

    def version(self) -> str | None:
        """Name a folder's checksum list; None for a single file, which is one request in any case."""
        return self._folder.version() if self._folder is not None else None

    def locate(self, manifest: Manifest) -> Mapping[str, RemoteFile]:
        """Say where the files would be, without asking: in the folder by their paths. A URL is that of one file."""
        if self._address.folder:
            return {file.path: replace(file, locator=self._address.below(file.path)) for file in _unpinned(manifest)}
        only = _unpinned(manifest)
        return {only[0].path: replace(only[0], locator=self._address.url)} if len(only) == 1 else {}

    def manifest(self) -> Manifest:
        """Return the manifest; sizes and validators come from one request for each file."""
        if self._folder is not None:
            return self._folder.manifest()
        url, digest = self._address.url, self._address.digest
        reply, size = self._probe.describe(url, digest)
        file = self._probe.file(reply, size, url, proposed_name(reply) or self._address.name, digest)
        if digest is not None:
            # Nodes behind one name may differ in their validators, and a digest that the user knows is the truth.
            file = replace(file, validator=None)
        check_names([file.path], self._uri)
        self._refuse_page(file, reply)
        return Manifest(self._uri, (file,), single=True, whole=folder_of(self._uri))

    def _refuse_page(self, file: RemoteFile, reply: Response) -> None:
        """Raise UnexpectedContent for a web page that is not called one, judged by its first bytes too."""
        media_type = reply.headers.get("content-type", "")
        if file.digests or not len(file.span) or not is_suspicious(file.path, media_type):
            return
        head = bytearray(min(HEAD, len(file.span)))
        with closing(self.open(file, file.span)) as body:
            filled = 0
            while filled < len(head) and (count := body.readinto(memoryview(head)[filled:])):
                filled += count
        found = self._content.contradiction(
            file.path, len(file.span), bytes(head), verified=False, media_type=media_type
        )
        if found:
            hub_uri = uri_of_page(urlsplit(self._address.url).path)
            hint = f"for a repository on the Hub write {hub_uri}" if hub_uri else ACCEPT_ANY
            hint = redirect_hint(self._address.url, reply.url) or hint
            raise UnexpectedContent(f"{self._uri}: {file.path} {found}", hint=hint)

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span."""
        request = self._request(file, span)
        try:
            body = self._http.open(request)
        except SourceChanged:
            self._probe.distrust(file.locator)
            raise
        except HttpStatusError as error:
            what = shown_url(file.locator)
            # Where parts came before, it is the access that has ended.
            part = not request.whole and file.locator not in self._parts_came
            raise map_status_error(error, what, hint=HINT, asked=file.locator, listed=True, part=part) from error
        if not request.whole:
            self._parts_came.add(file.locator)
        return body

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Ask for all that will be opened next."""
        self._http.prefetch([self._request(file, span) for file, span in pieces])

    def _request(self, file: RemoteFile, span: Span) -> RangeRequest:
        verified = proves_itself(file)
        size = file.size if file.sized else None
        return RangeRequest(file.locator, span, size, file.validator, self._headers, verified)

    def identity(self) -> str:
        """Tell whether something in the environment, the URI or the netrc file lets us in."""
        if "authorization" in self._headers:
            return "with an Authorization header, from the URI, the environment or the netrc file"
        return (
            f"with headers of the environment ({', '.join(self._headers)})" if self._headers else "without credentials"
        )

    def close(self) -> None:
        """Nothing to release: connections belong to the run."""
