"""From a folder's listing to its files. A HEAD of each object adds its checksums, which no listing has."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile, Validator
from downloader.errors import IntegrityError, SourceNotFound
from downloader.integrity import LARGEST_LIST, MARKER, of_nothing, parse_checksums, proves_itself
from downloader.sources.base import version_of
from downloader.sources.s3.answers import ErrorResponse
from downloader.sources.s3.errors import archived, map_response
from downloader.sources.s3.multipart import with_layouts
from downloader.sources.s3.object_info import shared_tags, tag_digests, without_tag_digests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.filters import FileFilter
    from downloader.sources.s3.address import S3Address
    from downloader.sources.s3.client import S3ApiClient
    from downloader.sources.s3.description import ObjectProbe
    from downloader.sources.s3.listing import Entry
    from downloader.sources.s3.object_info import ObjectInfo

MOST_HEADS = 1000
"""Objects that are asked for their checksums one by one: of more, the largest. The others' tags are in the listing."""

log = logging.getLogger(__name__)


class Gone(Exception):
    """An object has been deleted since it was listed."""

    def __init__(self, error: SourceNotFound) -> None:
        super().__init__(str(error))
        self.error = error


class Folder:
    """Makes a manifest of the objects of a folder. For many threads."""

    def __init__(self, uri: str, address: S3Address, connection: S3ApiClient, probe: ObjectProbe, workers: int) -> None:
        """`workers` objects are asked for their checksums at a time."""
        self._uri = uri
        self._address = address
        self._connection = connection
        self._probe = probe
        self._workers = workers
        self._infos: dict[tuple[str, str | None], ObjectInfo] = {}
        """What HEADs said, by key and tag: kept for a retry of the listing."""
        self._changed: dict[str, RemoteFile] = {}
        """How objects were listed whose bytes turned out to be of another version, by key."""

    def distrust(self, file: RemoteFile) -> None:
        """Forget all HEADs, since the bytes of an object were of another version than its HEAD."""
        self._probe.distrust_heads()
        self._infos.clear()
        self._changed[file.locator] = file

    def settled(self, file: RemoteFile) -> RemoteFile:
        """Return a file without validator if it was listed twice with the same checksum and read as another version.

        The content has not changed then: the nodes of the service have different ETags for it.
        """
        known = self._changed.get(file.locator)
        if known is None or known.size != file.size:
            return file
        checksums = without_tag_digests(file).digests
        same = proves_itself(replace(file, digests=checksums)) and checksums == without_tag_digests(known).digests
        return replace(file, validator=None) if same else file

    def version_of(self, listed: Sequence[Entry]) -> str | None:
        """Return a name for a listing; None if an object in it has no ETag."""
        if not listed or not all(entry.tag for entry in listed):
            return None
        ordered = sorted(listed, key=lambda entry: entry.key)
        return version_of(self._uri, (f"{entry.key}\0{entry.size}\0{entry.tag}" for entry in ordered))

    def manifest(self, listed: Sequence[Entry], file_filter: FileFilter) -> Manifest:
        """Return the manifest of the wanted objects. Raises Gone for one that has been deleted since the listing."""
        version, whole = self.version_of(listed), self._address.uri_of(self._address.prefix)
        marker = next((entry for entry in listed if entry.path == MARKER), None)
        listed = sorted((entry for entry in listed if entry is not marker), key=lambda entry: entry.path)
        if not listed:
            raise SourceNotFound(f"S3 404: no objects found: {self._uri} holds nothing but a checksum list")
        chosen = frozenset(file_filter.choose(entry.path for entry in listed if entry.wanted))
        wanted = [entry for entry in listed if entry.path in chosen]
        if not wanted:
            raise file_filter.nothing_left([entry.path for entry in listed], self._uri)
        checksums = self._checksums(marker, listed) if marker else None
        if checksums is not None:
            digests = parse_checksums(checksums).files
            infos = self._ask_for([entry for entry in wanted if entry.archive])
            files = [
                replace(
                    _file(entry, infos.get(entry.key), plain_tags=False),
                    digests=(Digest(Algorithm.SHA256, digests[entry.path]),),
                )
                for entry in wanted
            ]
            kept = checksums if len(wanted) == len(listed) else None
            return Manifest(self._uri, tuple(files), version=version, checksums=kept, whole=whole)
        largest = sorted(wanted, key=lambda entry: entry.size, reverse=True)
        infos = self._ask_for(
            [*largest[:MOST_HEADS], *(entry for entry in largest[MOST_HEADS:] if entry.archive or _is_uncertain(entry))]
        )
        if len(infos) < len(wanted):
            log.info("%d objects: requesting checksums for the largest %d only", len(wanted), MOST_HEADS)
        plain_tags = all(info.plain_tag for info in infos.values())
        files = [_file(entry, infos.get(entry.key), plain_tags=plain_tags) for entry in wanted]
        shared = set(map(Validator.of, shared_tags((entry.tag, entry.size) for entry in listed)))
        files = [self.settled(without_tag_digests(file) if file.validator in shared else file) for file in files]
        if any(file.size != entry.size for file, entry in zip(files, wanted, strict=True)):
            version = None  # something was replaced since it was listed
        return Manifest(self._uri, tuple(files), version=version, whole=whole)

    def _checksums(self, marker: Entry, listed: Sequence[Entry]) -> bytes | None:
        """Return the bucket's own checksum file; None unless it names exactly the objects beside it."""
        what = self._address.uri_of(marker.key)
        with self._connection.map_exceptions(what):
            reply = self._connection.fetch(self._address.bucket, marker.key, LARGEST_LIST)
        if reply.status != HTTPStatus.OK:
            error = map_response(ErrorResponse.read(reply.status, reply.body, reply.url), what, self._connection.asker)
            log.warning("ignoring %s: %s", what, error)
            return None
        try:
            covered = parse_checksums(reply.body, what).files.keys()
        except IntegrityError as error:
            log.warning("ignoring %s: %s", what, error)
            return None
        if covered != {entry.path for entry in listed}:
            log.warning("ignoring %s: it lists other files than the bucket", what)
            return None
        return reply.body

    def _ask_for(self, wanted: Sequence[Entry]) -> dict[str, ObjectInfo]:
        """Return the info of these objects by key, asking for some at a time. Raises the first error."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="head")
        try:
            infos = dict(zip((entry.key for entry in wanted), pool.map(self._info_of, wanted), strict=True))
        finally:
            pool.shutdown(cancel_futures=True)
        asleep = next((key for key, info in infos.items() if info.archived), None)
        if asleep is not None:
            raise archived(self._address.uri_of(asleep))
        return infos

    def _info_of(self, entry: Entry) -> ObjectInfo:
        known = self._infos.get((entry.key, entry.tag))
        if known is None:
            try:
                with self._connection.map_exceptions(self._address.uri_of(entry.key)):
                    described = self._probe.describe(entry.key, entry.size)
                    known = with_layouts(self._connection, self._address.bucket, entry.key, described)
            except SourceNotFound as error:
                raise Gone(error) from error
            self._infos[entry.key, entry.tag] = known
        return known


def _is_uncertain(entry: Entry) -> bool:
    """Whether an object is empty by its listing alone, without the ETag of empty content."""
    return not entry.size and not of_nothing(tag_digests(entry.tag))


def _file(entry: Entry, info: ObjectInfo | None, *, plain_tags: bool) -> RemoteFile:
    if info is None:
        digests = tag_digests(entry.tag) if plain_tags else ()
        return RemoteFile(entry.path, entry.size, digests, Validator.of(entry.tag), entry.key)
    # A GET of the first byte of an empty object is answered 416, and that answer has no tag.
    digests = info.digests if info.tag else info.digests or tag_digests(entry.tag)
    validator = Validator.of(info.tag or entry.tag)
    return RemoteFile(entry.path, info.size, digests, validator, entry.key, info.version)
