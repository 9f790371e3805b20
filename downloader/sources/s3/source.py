"""`S3Source`: a folder or an object of a bucket, pinned by entity tags and versions."""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile
from downloader.errors import AccessDenied, DownloadError, IntegrityError, SourceNotFound
from downloader.integrity import proves_itself
from downloader.sources.names import check_names
from downloader.sources.s3.address import S3Address
from downloader.sources.s3.connection import OK, Connection
from downloader.sources.s3.errors import FORBIDDEN, Answer, archived, meaning, refused, translated
from downloader.sources.s3.facts import tag_digests
from downloader.sources.s3.listing import Entry, entries
from downloader.sources.s3.parts import with_layouts
from downloader.sources.s3.presigned import PresignedSource
from downloader.sources.versions import folder_of, version_of
from downloader.volume.checksums import LARGEST, MARKER, parse
from downloader.wire import RangeRequest, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from downloader.artifact import Span
    from downloader.config.s3 import S3Settings
    from downloader.sources import Body
    from downloader.sources.s3.facts import Facts
    from downloader.sources.s3.signing import SignedRequest
    from downloader.wire import Web

    Signer = Callable[[str, str, str | None], SignedRequest]

MOST_HEADS = 1000
"""Objects that are asked for their checksums one by one: of more, the largest. The others' tags are in the listing."""

log = logging.getLogger(__name__)


class S3Source:
    """Lists and reads what an `s3://` URI names: everything below a folder, or one object."""

    def __init__(self, uri: str, settings: S3Settings, web: Web, bundles: Sequence[Path] = ()) -> None:
        """`bundles` are PEM files with CAs to trust besides the usual ones and those of the settings."""
        self._uri = uri
        self._address = S3Address.parse(uri)
        self._web = web
        self._workers = settings.max_workers
        self._connection = Connection(settings, web, bundles)
        self._facts: dict[tuple[str, str | None], Facts] = {}
        """What was learned about an object, kept for when passing trouble makes us list again."""
        self._versions = True
        """Reading a certain version is allowed, as far as we know."""
        self._listed: list[Entry] | None = None
        """The listing that `version` has named, for the next manifest."""

    def version(self) -> str | None:
        """Name the folder's listing; None for a single object, and where the listing lacks tags."""
        try:
            self._listed = self._list()
        except AccessDenied:
            return None  # it may be an object that can be read all the same
        return self._version_of(self._listed)

    def manifest(self) -> Manifest:
        """Return the folder's manifest, or that of the single object where there is no such folder."""
        listed, self._listed = self._listed, None
        try:
            listed = self._list() if listed is None else listed
        except AccessDenied:
            # Public buckets often let everybody read an object who knows its name, and nobody list.
            file = self._readable_single()
            if file is None:
                raise
            return Manifest(self._uri, (file,), single=True, whole=folder_of(self._uri))
        if listed:
            self._warn_of_namesake()
            return self._folder(listed)
        file = self._single()
        if file is None:
            raise SourceNotFound(
                f"S3 404: no objects found: nothing is there under {self._uri}",
                hint="check bucket, path and endpoint; upper and lower case matter",
            )
        return Manifest(self._uri, (file,), single=True, whole=folder_of(self._uri))

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span with a request that was signed just now, so that nothing can have expired."""
        what = self._address.uri_of(file.locator)
        version = file.version if self._versions else None
        try:
            return self._read(file, span, version)
        except Refusal as refusal:
            self._connection.forget()
            if version is None or refusal.status != FORBIDDEN:
                raise refused(refusal, what, unsigned=self._connection.unsigned) from refusal
        try:
            body = self._read(file, span, None)
        except Refusal as refusal:
            raise refused(refusal, what, unsigned=self._connection.unsigned) from refusal
        # s3:GetObjectVersion is a permission of its own; the entity tag pins the object as well.
        self._versions = False
        return body

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
        return self._web.open(self._request(file, span, version, sign))

    def _request(self, file: RemoteFile, span: Span, version: str | None, sign: Signer | None = None) -> RangeRequest:
        with self._translated(self._address.uri_of(file.locator)):
            request = (sign or self._connection.sign)(self._address.bucket, file.locator, version)
        return RangeRequest(request.url, span, file.size, file.validator, request.headers, proves_itself(file))

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        with translated(what, lambda: self._connection.unsigned):
            yield

    def _list(self) -> list[Entry]:
        with self._translated(self._uri):
            return list(entries(self._connection, self._address))

    def _version_of(self, listed: Sequence[Entry]) -> str | None:
        if not listed or not all(entry.tag for entry in listed):
            return None
        ordered = sorted(listed, key=lambda entry: entry.key)
        return version_of(self._uri, (f"{entry.key}\0{entry.size}\0{entry.tag}" for entry in ordered))

    def _readable_single(self) -> RemoteFile | None:
        with contextlib.suppress(AccessDenied):
            return self._single()
        return None

    def _warn_of_namesake(self) -> None:
        """Say so if there is an object of the folder's very name: it is none of the folder's files."""
        key = self._address.key
        with contextlib.suppress(DownloadError), self._translated(self._uri):  # asked once, and without any patience
            if key is not None and self._connection.exists(self._address.bucket, key):
                log.warning("%s is a folder and an object: the folder is downloaded", self._uri)

    def _single(self) -> RemoteFile | None:
        """Return the object whose key the URI is; None if there is none."""
        key = self._address.key
        if key is None:
            return None
        try:
            facts = self._ask(key, None)
        except SourceNotFound:
            return None
        if facts.archived:
            raise archived(self._uri)
        path = key.rpartition("/")[2]
        check_names([path], self._uri)
        return RemoteFile(path, facts.size, facts.digests, facts.tag, key, facts.version)

    def _folder(self, listed: Sequence[Entry]) -> Manifest:
        version, whole = self._version_of(listed), self._address.uri_of(self._address.prefix)
        marker = next((entry for entry in listed if entry.path == MARKER), None)
        listed = sorted((entry for entry in listed if entry is not marker), key=lambda entry: entry.path)
        if not listed:
            raise SourceNotFound(f"S3 404: no objects found: {self._uri} holds nothing but a checksum list")
        checksums = self._checksums(marker, listed) if marker else None
        if checksums is not None:
            digests = parse(checksums).files
            facts = self._ask_for([entry for entry in listed if entry.archive])
            files = [
                replace(
                    _file(entry, facts.get(entry.key), plain_tags=False),
                    digests=(Digest(Algorithm.SHA256, digests[entry.path]),),
                )
                for entry in listed
            ]
            return Manifest(self._uri, tuple(files), version=version, checksums=checksums, whole=whole)
        largest = sorted(listed, key=lambda entry: entry.size, reverse=True)
        facts = self._ask_for([*largest[:MOST_HEADS], *(entry for entry in largest[MOST_HEADS:] if entry.archive)])
        if len(facts) < len(listed):
            log.info("%d objects: only the largest %d are asked for their checksums", len(listed), MOST_HEADS)
        plain_tags = all(fact.plain_tag for fact in facts.values())
        files = [_file(entry, facts.get(entry.key), plain_tags=plain_tags) for entry in listed]
        return Manifest(self._uri, tuple(files), version=version, whole=whole)

    def _checksums(self, marker: Entry, listed: Sequence[Entry]) -> bytes | None:
        """Return the bucket's own checksum list if it covers exactly the objects beside it."""
        what = self._address.uri_of(marker.key)
        with self._translated(what):
            request = self._connection.sign(self._address.bucket, marker.key)
        reply = self._web.fetch(request.url, headers=request.headers, limit=LARGEST)
        if reply.status != OK:
            error = meaning(Answer.read(reply.status, reply.body), what, unsigned=self._connection.unsigned)
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
        return self._ask(entry.key, entry.tag)

    def _ask(self, key: str, tag: str | None) -> Facts:
        known = self._facts.get((key, tag))
        if known is None:
            with self._translated(self._address.uri_of(key)):
                described = self._connection.describe(self._address.bucket, key)
                known = with_layouts(self._connection, self._address.bucket, key, described)
            self._facts[key, tag] = known
        return known


def _file(entry: Entry, facts: Facts | None, *, plain_tags: bool) -> RemoteFile:
    if facts is None:
        digests = tag_digests(entry.tag) if plain_tags else ()
        return RemoteFile(entry.path, entry.size, digests, entry.tag, entry.key)
    return RemoteFile(entry.path, facts.size, facts.digests, facts.tag or entry.tag, entry.key, facts.version)
