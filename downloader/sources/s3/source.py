"""`S3Source`: an object or a folder of a bucket, pinned by entity tags and versions."""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile
from downloader.errors import (
    AccessDenied,
    DownloadError,
    IntegrityError,
    SourceChanged,
    SourceNotFound,
    SourceUnavailable,
)
from downloader.integrity import of_nothing, proves_itself
from downloader.selection import Selection, nothing_left
from downloader.sources.names import check_names
from downloader.sources.s3.address import S3Address
from downloader.sources.s3.connection import OK, Connection
from downloader.sources.s3.description import Describer
from downloader.sources.s3.errors import (
    FORBIDDEN,
    Answer,
    CredentialsExpired,
    archived,
    meaning,
    refused,
    translated,
)
from downloader.sources.s3.facts import shared_tags, tag_digests, without_tag_digests
from downloader.sources.s3.listing import Listing
from downloader.sources.s3.pages import Pages
from downloader.sources.s3.parts import with_layouts
from downloader.sources.s3.presigned import PresignedSource
from downloader.sources.versions import folder_of, version_of
from downloader.volume.checksums import LARGEST, MARKER, parse
from downloader.wire import RangeRequest, Refusal
from downloader.words import names_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from downloader.artifact import Span
    from downloader.config.s3 import S3Settings
    from downloader.sources import Body
    from downloader.sources.s3.facts import Facts
    from downloader.sources.s3.listing import Entry
    from downloader.sources.s3.signing import SignedRequest
    from downloader.wire import Web

    Signer = Callable[[str, str, str | None], SignedRequest]

MOST_HEADS = 1000
"""Objects that are asked for their checksums one by one: of more, the largest. The others' tags are in the listing."""

MOST_LISTINGS = 2
"""How often the folder is listed again when an object is gone that was listed."""

MOST_NAMED = 10
"""Unsafe names that the warning names."""

log = logging.getLogger(__name__)


class S3Source:
    """Lists and reads what an `s3://` URI names: one object, or everything below a folder."""

    def __init__(
        self,
        uri: str,
        settings: S3Settings,
        web: Web,
        bundles: Sequence[Path] = (),
        selection: Selection | None = None,
        *,
        skip_unsafe: bool = False,
    ) -> None:
        """`bundles` are PEM files with CAs to trust besides the usual ones and those of the settings.

        What `selection` does not keep is neither judged nor asked for. `skip_unsafe`: keys that lead out of the folder
        are passed over with a warning instead of refused.
        """
        self._uri = uri
        self._address = S3Address.parse(uri)
        self._web = web
        self._workers = settings.max_workers
        self._selection = selection or Selection()
        self._skip_unsafe = skip_unsafe
        self._connection = Connection(settings, web, bundles)
        self._describer = Describer(self._connection, self._address.bucket, aws=settings.is_aws)
        self._facts: dict[tuple[str, str | None], Facts] = {}
        """What was learned about an object, kept for when passing trouble makes us list again."""
        self._versions = True
        """Reading a certain version is allowed, as far as we know."""
        self._found: RemoteFile | Listing | None = None
        """What `version` has seen, for the next manifest."""
        self._warned: list[str] = []
        """The unsafe keys of which the log has been told."""

    def version(self) -> str | None:
        """Name the folder's listing; None for a single object, and where the listing lacks tags."""
        try:
            self._found = found = self._look()
        except AccessDenied:
            return None  # it may be an object that can be read all the same
        return self._version_of(found.entries) if isinstance(found, Listing) else None

    def manifest(self) -> Manifest:
        """Return the manifest of the object that the URI names, or that of the folder where there is no such object."""
        found, self._found = self._found, None
        for lists_left in range(MOST_LISTINGS, -1, -1):
            try:
                found = self._look() if found is None else found
                return self._manifest_of(found)
            except _Gone as gone:
                if not lists_left:
                    raise gone.error from gone
                log.info("%s; listing again", gone.error.message)
                found = None
        raise AssertionError("unreachable")

    def _manifest_of(self, found: RemoteFile | Listing) -> Manifest:
        if isinstance(found, Listing):
            if found.entries:
                return replace(self._folder(found.entries), skipped=len(found.skipped))
            raise self._nothing(found)
        return Manifest(self._uri, (found,), single=True, whole=folder_of(self._uri))

    def _look(self) -> RemoteFile | Listing:
        """Return the object that the URI names, or the listing of the folder."""
        file = self._single(self._describer.find)
        if file is not None and (file.size or not file.sized):
            self._see_that_it_is_s3()
            return file
        try:
            listing = self._list()
        except AccessDenied:
            # Public buckets often let everybody read an object who knows its name, and nobody list.
            with contextlib.suppress(AccessDenied):
                file = file or self._single(self._describer.find_by_get)
            if file is None:
                raise
            return file
        if not listing.entries:
            return file or self._single(self._describer.find_by_get) or listing
        if file is not None:
            log.warning("%s is an empty object and a folder with files: the folder is downloaded", self._uri)
        return listing

    def _see_that_it_is_s3(self) -> None:
        """Look for a folder of the object's name. Raises ProtocolFailed where what answers is no S3 service."""
        with contextlib.suppress(AccessDenied), self._translated(self._uri):
            pages = Pages(self._connection, self._address.bucket, self._address.prefix)
            if next(iter(pages), []):
                log.warning("%s is an object and a folder: the object is downloaded", self._uri)

    def _nothing(self, listing: Listing) -> SourceNotFound:
        also = f" but {len(listing.skipped)} unsafe names" if listing.skipped else ""
        return SourceNotFound(
            f"S3 404: no objects found: nothing is there under {self._uri}{also}",
            hint="check bucket, path and endpoint; upper and lower case matter",
        )

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span with a request that was signed just now, so that nothing can have expired."""
        version = file.version if self._versions else None
        try:
            return self._read(file, span, version)
        except Refusal as refusal:
            self._connection.forget()
            if version is None or refusal.status != FORBIDDEN:
                raise self._refused(refusal, file) from refusal
        except SourceChanged:
            # The object is another one now, or what was learned of it was wrong from the beginning.
            self._describer.doubt_heads()
            self._facts.clear()
            raise
        try:
            body = self._read(file, span, None)
        except Refusal as refusal:
            raise self._refused(refusal, file) from refusal
        # s3:GetObjectVersion is a permission of its own; the entity tag pins the object as well.
        self._versions = False
        return body

    def _refused(self, refusal: Refusal, file: RemoteFile) -> DownloadError:
        error = refused(refusal, self._address.uri_of(file.locator), self._connection.asker)
        return self._renewed(error) if isinstance(error, CredentialsExpired) else error

    def _renewed(self, error: CredentialsExpired) -> DownloadError:
        """Return passing trouble if the provider of the credentials had new ones, else the error itself."""
        if not self._connection.renew():
            return error
        return SourceUnavailable(f"{error.message}, and were renewed")

    def presigned(self) -> PresignedSource:
        """Return a source that asks as any web client could."""
        return PresignedSource(self)

    def open_presigned(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span from a presigned address. Raises Refusal where the server does not take it."""
        return self._read(file, span, file.version if self._versions else None, self._connection.presign)

    def close(self) -> None:
        """Nothing to release: connections belong to the run."""

    def announce(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Ask for all that will be opened next."""
        requests = []
        with contextlib.suppress(DownloadError):
            for file, span in pieces:
                requests.append(self._request(file, span, file.version if self._versions else None))
        self._web.announce(requests)

    def _read(self, file: RemoteFile, span: Span, version: str | None, sign: Signer | None = None) -> Body:
        body = self._web.open(self._request(file, span, version, sign))
        self._connection.succeed()
        return body

    def _request(self, file: RemoteFile, span: Span, version: str | None, sign: Signer | None = None) -> RangeRequest:
        with self._translated(self._address.uri_of(file.locator)):
            request = (sign or self._connection.sign)(self._address.bucket, file.locator, version)
        size = file.size if file.sized else None
        return RangeRequest(request.url, span, size, file.validator, request.headers, proves_itself(file))

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            with translated(what, lambda: self._connection.asker):
                yield
        except CredentialsExpired as error:
            raise self._renewed(error) from error

    def _list(self) -> Listing:
        listing = Listing(self._address, self._selection.wants, skip_unsafe=self._skip_unsafe)
        with self._translated(self._uri):
            listing.read(self._connection)
        if listing.skipped and listing.skipped != self._warned:
            self._warned = listing.skipped
            names = names_text(listing.skipped, MOST_NAMED)
            count = len(self._warned)
            what = "1 unsafe name, which leads" if count == 1 else f"{count} unsafe names, which lead"
            log.warning("passed over %s out of the folder of %s: %s", what, self._uri, names)
        return listing

    def _version_of(self, listed: Sequence[Entry]) -> str | None:
        if not listed or not all(entry.tag for entry in listed):
            return None
        ordered = sorted(listed, key=lambda entry: entry.key)
        return version_of(self._uri, (f"{entry.key}\0{entry.size}\0{entry.tag}" for entry in ordered))

    def _single(self, find: Callable[[str], Facts | None]) -> RemoteFile | None:
        """Return the object whose key the URI is; None if `find` finds none."""
        key = self._address.key
        if key is None:
            return None
        with self._translated(self._uri):
            described = find(key)
            if described is None:
                return None
            facts = with_layouts(self._connection, self._address.bucket, key, described)
        if facts.archived:
            raise archived(self._uri)
        path = key.rpartition("/")[2]
        check_names([path], self._uri)
        return RemoteFile(path, facts.size, facts.digests, facts.tag, key, facts.version, sized=facts.sized)

    def _folder(self, listed: Sequence[Entry]) -> Manifest:
        version, whole = self._version_of(listed), self._address.uri_of(self._address.prefix)
        marker = next((entry for entry in listed if entry.path == MARKER), None)
        listed = sorted((entry for entry in listed if entry is not marker), key=lambda entry: entry.path)
        if not listed:
            raise SourceNotFound(f"S3 404: no objects found: {self._uri} holds nothing but a checksum list")
        wanted = [entry for entry in listed if entry.wanted]
        if not wanted:
            raise nothing_left(len(listed), self._uri)
        checksums = self._checksums(marker, listed) if marker else None
        if checksums is not None:
            digests = parse(checksums).files
            facts = self._ask_for([entry for entry in wanted if entry.archive or not entry.size])
            files = [
                replace(
                    _file(entry, facts.get(entry.key), plain_tags=False),
                    digests=(Digest(Algorithm.SHA256, digests[entry.path]),),
                )
                for entry in wanted
            ]
            kept = checksums if len(wanted) == len(listed) else None
            return Manifest(self._uri, tuple(files), version=version, checksums=kept, whole=whole)
        largest = sorted(wanted, key=lambda entry: entry.size, reverse=True)
        facts = self._ask_for(
            [*largest[:MOST_HEADS], *(entry for entry in largest[MOST_HEADS:] if entry.archive or _doubtful(entry))]
        )
        if len(facts) < len(wanted):
            log.info("%d objects: only the largest %d are asked for their checksums", len(wanted), MOST_HEADS)
        plain_tags = all(fact.plain_tag for fact in facts.values())
        files = [_file(entry, facts.get(entry.key), plain_tags=plain_tags) for entry in wanted]
        shared = shared_tags((entry.tag, entry.size) for entry in listed)
        files = [without_tag_digests(file) if file.validator in shared else file for file in files]
        if any(file.size != entry.size for file, entry in zip(files, wanted, strict=True)):
            version = None  # something was replaced since it was listed
        return Manifest(self._uri, tuple(files), version=version, whole=whole)

    def _checksums(self, marker: Entry, listed: Sequence[Entry]) -> bytes | None:
        """Return the bucket's own checksum list if it covers exactly the objects beside it."""
        what = self._address.uri_of(marker.key)
        with self._translated(what):
            request = self._connection.sign(self._address.bucket, marker.key)
        reply = self._web.fetch(request.url, headers=request.headers, limit=LARGEST)
        if reply.status != OK:
            error = meaning(Answer.read(reply.status, reply.body, reply.url), what, self._connection.asker)
            log.warning("%s is of no use: %s", what, error)
            return None
        try:
            covered = parse(reply.body, what).files.keys()
        except IntegrityError as error:
            log.warning("%s is of no use: %s", what, error)
            return None
        if covered != {entry.path for entry in listed}:
            log.warning("%s lists other files than the bucket; it is left out", what)
            return None
        return reply.body

    def _ask_for(self, wanted: Sequence[Entry]) -> dict[str, Facts]:
        """Ask for the facts of these objects, some at a time. Raises for the first that cannot be read."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="head")
        try:
            facts = dict(zip((entry.key for entry in wanted), pool.map(self._facts_of, wanted), strict=True))
        finally:
            pool.shutdown(cancel_futures=True)
        asleep = next((key for key, fact in facts.items() if fact.archived), None)
        if asleep is not None:
            raise archived(self._address.uri_of(asleep))
        return facts

    def _facts_of(self, entry: Entry) -> Facts:
        known = self._facts.get((entry.key, entry.tag))
        if known is None:
            try:
                with self._translated(self._address.uri_of(entry.key)):
                    described = self._describer.describe(entry.key, entry.size)
                    known = with_layouts(self._connection, self._address.bucket, entry.key, described)
            except SourceNotFound as error:
                raise _Gone(error) from error
            self._facts[entry.key, entry.tag] = known
        return known


class _Gone(Exception):
    """An object is no longer there that was just listed."""

    def __init__(self, error: SourceNotFound) -> None:
        super().__init__(str(error))
        self.error = error


def _doubtful(entry: Entry) -> bool:
    """Tell whether only the listing calls an object empty."""
    return not entry.size and not of_nothing(tag_digests(entry.tag))


def _file(entry: Entry, facts: Facts | None, *, plain_tags: bool) -> RemoteFile:
    if facts is None:
        digests = tag_digests(entry.tag) if plain_tags else ()
        return RemoteFile(entry.path, entry.size, digests, entry.tag, entry.key)
    # A GET of the first byte of an empty object is refused, and a refusal has no tag.
    digests = facts.digests if facts.tag else facts.digests or tag_digests(entry.tag)
    return RemoteFile(entry.path, facts.size, digests, facts.tag or entry.tag, entry.key, facts.version)
