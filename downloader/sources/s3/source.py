"""`S3Source`: an object or a folder of a bucket, pinned by entity tags and versions."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from downloader.artifact import FileTable, Manifest, RemoteFile, Validator
from downloader.errors import AccessDenied, DownloadError, SourceChanged, SourceNotFound
from downloader.filters import FileFilter
from downloader.formatting import names_text
from downloader.integrity import proves_itself
from downloader.network import HttpStatusError, RangeRequest, Unpinned
from downloader.sources.base import folder_of
from downloader.sources.paths import check_names
from downloader.sources.s3.address import S3Address
from downloader.sources.s3.client import S3ApiClient
from downloader.sources.s3.description import ObjectProbe
from downloader.sources.s3.errors import CredentialsExpired, archived, map_status_error
from downloader.sources.s3.folder import Folder, Gone
from downloader.sources.s3.listing import Listing
from downloader.sources.s3.multipart import with_layouts
from downloader.sources.s3.pages import Pages
from downloader.sources.s3.presigned import PresignedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from downloader.artifact import Span
    from downloader.config.s3 import S3Settings
    from downloader.network import HttpClient
    from downloader.sources.base import Body
    from downloader.sources.s3.object_info import ObjectInfo
    from downloader.sources.s3.signing import SignedRequest

    Signer = Callable[[str, str, str | None], SignedRequest]

MAX_LISTINGS = 2
"""How often the folder is listed again when an object is gone that was listed."""

MAX_NAMED = 10
"""Unsafe names that the warning names."""

log = logging.getLogger(__name__)


class S3Source:
    """Lists and reads what an `s3://` URI names: one object, or everything below a folder."""

    def __init__(
        self,
        uri: str,
        settings: S3Settings,
        http: HttpClient,
        bundles: Sequence[Path] = (),
        file_filter: FileFilter | None = None,
        *,
        skip_unsafe: bool = False,
    ) -> None:
        """`bundles` are PEM files with CAs to trust besides the usual ones and those of the settings.

        Objects that `file_filter` does not keep are neither validated nor asked for. `skip_unsafe`: keys that lead out
        of the folder are skipped with a warning instead of an error.
        """
        self._uri = uri
        self._address = S3Address.parse(uri)
        self._http = http
        self._file_filter = file_filter or FileFilter()
        self._skip_unsafe = skip_unsafe
        self._client = S3ApiClient(settings, http, bundles)
        self._probe = ObjectProbe(self._client, self._address.bucket, aws=settings.is_aws)
        self._folder = Folder(uri, self._address, self._client, self._probe, settings.max_workers)
        self._pinned = True
        """Answers repeat the entity tag, as far as we know."""
        self._versions = True
        """Reading a certain version is allowed, as far as we know."""
        self._found: RemoteFile | Listing | None = None
        """What `version` has seen, for the next manifest."""
        self._warned: list[str] = []
        """The unsafe keys of which the log has been told."""

    def version(self) -> str | None:
        """Return a name for the folder's listing; None for a single object, and for a listing without entity tags."""
        try:
            self._found = found = self._look()
        except AccessDenied:
            return None  # it may be an object that can be read all the same
        return found.version if isinstance(found, Listing) else None

    def locate(self, manifest: Manifest) -> Mapping[str, RemoteFile]:
        """List the folder, without a HEAD of each object: the digests are the manifest's. An object is one file."""
        found = self._look()
        if isinstance(found, Listing):
            return {file.path: replace(file, digests=()) for file in found.files}
        only = manifest.files[0].path if len(manifest.files) == 1 else ""
        return {only: replace(found, path=only, digests=())} if only else {}

    def manifest(self) -> Manifest:
        """Return the manifest of the object that the URI names, or of the folder if there is no such object."""
        found, self._found = self._found, None
        for lists_left in range(MAX_LISTINGS, -1, -1):
            try:
                found = self._look() if found is None else found
                return self._as_pinned(self._manifest_of(found))
            except Gone as gone:
                if not lists_left:
                    raise gone.error from gone
                log.info("%s; listing again", gone.error.message)
                found = None
        raise AssertionError("unreachable")

    def _manifest_of(self, found: RemoteFile | Listing) -> Manifest:
        if isinstance(found, Listing):
            if found.files:
                return replace(self._folder.manifest(found, self._file_filter), skipped=len(found.skipped))
            raise self._nothing(found)
        return Manifest(self._uri, (self._folder.settled(found),), single=True, whole=folder_of(self._uri))

    def _as_pinned(self, manifest: Manifest) -> Manifest:
        """Return the manifest without validators if responses do not repeat them: then they cannot pin a file."""
        if self._pinned:
            return manifest
        return replace(manifest, files=FileTable(replace(file, validator=None) for file in manifest.files))

    def _look(self) -> RemoteFile | Listing:
        """Return the object that the URI names, or the listing of the folder."""
        file = self._single(self._probe.find)
        if file is not None and (file.size or not file.sized):
            self._require_s3()
            return file
        try:
            listing = self._list()
        except AccessDenied:
            # Many public buckets allow GetObject without credentials, and not ListBucket.
            with contextlib.suppress(AccessDenied):
                file = file or self._single(self._probe.find_by_get)
            if file is None:
                raise
            return file
        if not listing.files:
            return file or self._single(self._probe.find_by_get) or listing
        if file is not None:
            log.warning("%s is an empty object and a folder with files: downloading the folder", self._uri)
        return listing

    def _require_s3(self) -> None:
        """List the folder of the object's name. Raises ProtocolFailed if the server does not speak S3."""
        # Any web server answers a HEAD with 200: only a listing shows that this is S3.
        with contextlib.suppress(AccessDenied), self._client.map_exceptions(self._uri):
            pages = Pages(self._client, self._address.bucket, self._address.prefix)
            if next(iter(pages), []):
                log.warning("%s is an object and a folder: downloading the object", self._uri)

    def _nothing(self, listing: Listing) -> SourceNotFound:
        hint = "check bucket, path and endpoint; upper and lower case matter"
        if "%" in self._uri:
            hint = "keys are taken as they are: write a space and not %20; check bucket and endpoint, too"
        also = f" but {len(listing.skipped)} unsafe names" if listing.skipped else ""
        return SourceNotFound(
            f"S3 404: no objects found: nothing is there under {self._uri}{also}",
            hint=hint,
        )

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a range. The request is signed now, so that no signature can have expired."""
        version = file.version if self._versions else None
        try:
            return self._read(file, span, version)
        except HttpStatusError as error:
            self._client.forget()
            if version is None or error.status != HTTPStatus.FORBIDDEN:
                raise self._map_status_error(error, file) from error
        try:
            body = self._read(file, span, None)
        except HttpStatusError as error:
            raise self._map_status_error(error, file) from error
        # s3:GetObjectVersion is a permission of its own; the entity tag pins the object as well.
        self._versions = False
        return body

    def _map_status_error(self, error: HttpStatusError, file: RemoteFile) -> DownloadError:
        ours = map_status_error(error, self._address.uri_of(file.locator), self._client.asker)
        return self._client.after_expiry(ours) if isinstance(ours, CredentialsExpired) else ours

    def presigned(self) -> PresignedSource:
        """Return a source that reads by presigned URLs, as any web client could."""
        return PresignedSource(self, self._open_presigned)

    def _open_presigned(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a range at a presigned URL. Raises HttpStatusError if the server rejects it."""
        return self._read(file, span, file.version if self._versions else None, self._client.presign)

    def identity(self) -> str:
        """Tell which credentials sign the requests."""
        with self._client.map_exceptions(self._uri):
            return self._client.identity()

    def close(self) -> None:
        """Nothing to release: connections belong to the run."""

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Pipeline the requests, as far as they can be signed."""
        requests = []
        with contextlib.suppress(DownloadError):
            for file, span in pieces:
                requests.append(self._request(file, span, file.version if self._versions else None))
        self._http.prefetch(requests)

    def _read(self, file: RemoteFile, span: Span, version: str | None, sign: Signer | None = None) -> Body:
        request = self._request(file, span, version, sign)
        try:
            body = self._http.open(request)
        except SourceChanged as error:
            # The object is another one now, or what was learned of it was wrong from the beginning.
            self._folder.distrust(file)
            self._pinned &= not isinstance(error, Unpinned)
            raise
        self._client.succeed()
        return body

    def _request(self, file: RemoteFile, span: Span, version: str | None, sign: Signer | None = None) -> RangeRequest:
        try:
            request = (sign or self._client.sign)(self._address.bucket, file.locator, version)
        except Exception:
            # Not around the call: there are two for each object, and a context takes longer than a signature.
            with self._client.map_exceptions(self._address.uri_of(file.locator)):
                raise
        size = file.size if file.sized else None
        return RangeRequest(request.url, span, size, file.validator, request.headers, proves_itself(file))

    def _list(self) -> Listing:
        wants = self._file_filter.wants if self._file_filter else None
        listing = Listing(self._uri, self._address, wants, skip_unsafe=self._skip_unsafe)
        with self._client.map_exceptions(self._uri):
            listing.read(self._client)
        if listing.skipped and listing.skipped != self._warned:
            self._warned = listing.skipped
            names = names_text(listing.skipped, MAX_NAMED)
            count = len(self._warned)
            what = "1 unsafe name, which leads" if count == 1 else f"{count} unsafe names, which lead"
            log.warning("skipped %s out of the folder of %s: %s", what, self._uri, names)
        return listing

    def _single(self, find: Callable[[str], ObjectInfo | None]) -> RemoteFile | None:
        """Return the object whose key the URI is; None if `find` finds no object."""
        key = self._address.key
        if key is None:
            return None
        with self._client.map_exceptions(self._uri):
            described = find(key)
            if described is None:
                return None
            info = with_layouts(self._client, self._address.bucket, key, described)
        if info.archived:
            raise archived(self._uri)
        path = key.rpartition("/")[2]
        check_names([path], self._uri)
        return RemoteFile(path, info.size, info.digests, Validator.of(info.tag), key, info.version, sized=info.sized)
