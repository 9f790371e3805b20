"""From a folder's listing to its files. A HEAD of each object adds its checksums, which no listing has."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from heapq import nlargest
from http import HTTPStatus
from typing import TYPE_CHECKING

from downloader.artifact import Algorithm, Digest, FileTable, Manifest, RemoteFile, Validator
from downloader.errors import IntegrityError, SourceNotFound
from downloader.integrity import MARKER, MAX_LIST_SIZE, of_nothing, parse_checksums, proves_itself
from downloader.sources.s3.answers import ErrorResponse
from downloader.sources.s3.errors import archived, map_response
from downloader.sources.s3.multipart import with_layouts
from downloader.sources.s3.object_info import shared_tags, without_tag_digests

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from downloader.filters import FileFilter
    from downloader.sources.s3.address import S3Address
    from downloader.sources.s3.client import S3ApiClient
    from downloader.sources.s3.description import ObjectProbe
    from downloader.sources.s3.listing import Listing
    from downloader.sources.s3.object_info import ObjectInfo

MAX_HEADS = 1000
"""Objects that are asked for their checksums one by one: of more, the largest. The others' tags are in the listing."""
SAMPLE, SMALL = 100, 1 << 18
"""Number of objects and bytes. Where there are more than `MAX_HEADS`, only a sample of the small objects gets a HEAD
if the listing has an MD5 of the others: to compute that takes less time than a HEAD."""

log = logging.getLogger(__name__)


class Gone(Exception):
    """An object has been deleted since it was listed."""

    def __init__(self, error: SourceNotFound) -> None:
        super().__init__(str(error))
        self.error = error


class Folder:
    """Makes a manifest of the objects of a folder. For many threads."""

    def __init__(self, uri: str, address: S3Address, client: S3ApiClient, probe: ObjectProbe, workers: int) -> None:
        """`workers` objects are asked for their checksums at a time."""
        self._uri = uri
        self._address = address
        self._client = client
        self._probe = probe
        self._workers = workers
        self._infos: dict[tuple[str, Validator | None], ObjectInfo] = {}
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

    def manifest(self, listing: Listing, file_filter: FileFilter) -> Manifest:
        """Return the manifest of the wanted objects. Raises Gone for one that has been deleted since the listing."""
        listed, rows = listing.files, listing.wanted
        version, whole = listing.version, self._address.uri_of(self._address.prefix)
        marker = listed.find(MARKER)
        if len(listed) == (marker is not None):
            raise SourceNotFound(f"S3 404: no objects found: {self._uri} holds nothing but a checksum list")
        if marker is not None:
            rows = [row for row in rows if row != marker]
        if file_filter:
            chosen = frozenset(file_filter.choose(listed.paths[row] for row in rows))
            rows = [row for row in rows if listed.paths[row] in chosen]
        if not rows:
            raise file_filter.nothing_left([path for path in listed.paths if path != MARKER], self._uri)
        wanted, archived_rows = listed.taking(rows), {n for n, row in enumerate(rows) if listing.is_archived(row)}
        checksums = self._checksums(listed, marker) if marker is not None else None
        if checksums is not None:
            digests = parse_checksums(checksums).files
            infos = self._ask_for(wanted, archived_rows)
            known = (_known(file, infos.get(row)) for row, file in enumerate(wanted))
            files = FileTable(replace(file, digests=(Digest(Algorithm.SHA256, digests[file.path]),)) for file in known)
            kept = checksums if len(wanted) == len(listed) - 1 else None
            return Manifest(self._uri, files, version=version, checksums=kept, whole=whole)
        files, infos = self._described(wanted, archived_rows)
        if any(info.size != wanted.sizes[row] for row, info in infos.items()):
            version = None  # something was replaced since it was listed
        return Manifest(self._uri, self._judged(files, listed), version=version, whole=whole)

    def _described(self, wanted: FileTable, archived_rows: AbstractSet[int]) -> tuple[FileTable, dict[int, ObjectInfo]]:
        """Return the files with what HEADs of the largest add, and of those of which the listing says too little."""
        largest = nlargest(MAX_HEADS, range(len(wanted)), key=wanted.sizes.__getitem__)
        spared = _spared(wanted, largest)
        empty = (row for row, size in enumerate(wanted.sizes) if not size)
        uncertain = {row for row in empty if not of_nothing(wanted[row].digests)}
        infos = self._ask_for(wanted, (set(largest) - spared) | archived_rows | uncertain)
        if spared and not all(info.plain_tag for info in infos.values()):
            infos |= self._ask_for(wanted, spared - infos.keys())
        if len(infos) < len(wanted):
            log.info("%d objects: requesting checksums for the largest %d only", len(wanted), len(infos))
        files = wanted.replacing({row: _known(wanted[row], info) for row, info in infos.items()})
        if not all(info.plain_tag for info in infos.values()):
            files = FileTable(file if row in infos else replace(file, digests=()) for row, file in enumerate(files))
        return files, infos

    def _judged(self, files: FileTable, listed: FileTable) -> FileTable:
        """Return the files without digests and validators that turned out to say nothing of the content."""
        shared = shared_tags(listed)
        changed = {}
        if shared or self._changed:
            for row, file in enumerate(files):
                judged = self.settled(without_tag_digests(file) if file.validator in shared else file)
                if judged != file:
                    changed[row] = judged
        return files.replacing(changed)

    def _checksums(self, listed: FileTable, marker: int) -> bytes | None:
        """Return the bucket's own checksum file; None unless it names exactly the objects beside it."""
        key = listed[marker].locator
        what = self._address.uri_of(key)
        with self._client.map_exceptions(what):
            reply = self._client.fetch(self._address.bucket, key, MAX_LIST_SIZE)
        if reply.status != HTTPStatus.OK:
            error = map_response(ErrorResponse.read(reply.status, reply.body, reply.url), what, self._client.asker)
            log.warning("ignoring %s: %s", what, error)
            return None
        try:
            covered = parse_checksums(reply.body, what).files.keys()
        except IntegrityError as error:
            log.warning("ignoring %s: %s", what, error)
            return None
        if covered != set(listed.paths) - {MARKER}:
            log.warning("ignoring %s: it lists other files than the bucket", what)
            return None
        return reply.body

    def _ask_for(self, wanted: FileTable, rows: AbstractSet[int]) -> dict[int, ObjectInfo]:
        """Return the info of the objects in these rows, asking for some at a time. Raises the first error."""
        ordered = sorted(rows, key=lambda row: (-wanted.sizes[row], row))
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="head")
        try:
            infos = dict(zip(ordered, pool.map(self._info_of, (wanted[row] for row in ordered)), strict=True))
        finally:
            pool.shutdown(cancel_futures=True)
        asleep = next((row for row, info in infos.items() if info.archived), None)
        if asleep is not None:
            raise archived(self._address.uri_of(wanted[asleep].locator))
        return infos

    def _info_of(self, listed: RemoteFile) -> ObjectInfo:
        key = listed.locator
        known = self._infos.get((key, listed.validator))
        if known is None:
            try:
                with self._client.map_exceptions(self._address.uri_of(key)):
                    described = self._probe.describe(key, listed.size)
                    known = with_layouts(self._client, self._address.bucket, key, described)
            except SourceNotFound as error:
                raise Gone(error) from error
            self._infos[key, listed.validator] = known
        return known


def _spared(wanted: FileTable, largest: Sequence[int]) -> set[int]:
    """Return those of the largest objects whose tags in the listing will do as long as a sample shows what they are."""
    if len(wanted) <= MAX_HEADS:
        return set()
    return {row for row in largest[SAMPLE:] if wanted.sizes[row] <= SMALL and wanted[row].digests}


def _known(listed: RemoteFile, info: ObjectInfo | None) -> RemoteFile:
    """Return a listed file with what a HEAD said of it, if it was asked for."""
    if info is None:
        return listed
    # A GET of the first byte of an empty object is answered 416, and that answer has no tag.
    digests = info.digests if info.tag else info.digests or listed.digests
    validator = Validator.of(info.tag) or listed.validator
    return RemoteFile(listed.path, info.size, digests, validator, listed.locator, info.version)
