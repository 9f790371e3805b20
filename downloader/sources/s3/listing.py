"""From keys to relative paths."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from downloader.errors import ProtocolFailed
from downloader.sources.names import Names, refused
from downloader.sources.s3.errors import UNSUPPORTED, Answer
from downloader.sources.s3.facts import ARCHIVES
from downloader.volume.checksums import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3.type_defs import ObjectTypeDef

    from downloader.sources.s3.address import S3Address
    from downloader.sources.s3.connection import Connection

MAX_OBJECTS = 1_000_000
MAX_PAGES = 10_000
LONGEST_KEY, LONGEST_TAG = 1024, 256
QUOTE = '"'
SLASHES = re.compile(r"/{2,}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    path: str
    """Relative to the folder that the URI names."""
    key: str
    size: int
    tag: str | None
    archive: bool
    """Its storage class may have to be restored before it can be read."""


def entries(connection: Connection, address: S3Address) -> Iterator[Entry]:
    """List the files of a folder. Raises ConfigurationError for an object that cannot become a file."""
    names, has_marker = Names(address.uri_of(address.path)), False
    for count, item in enumerate(_objects(connection, address)):
        if count == MAX_OBJECTS:
            raise ProtocolFailed(f"{address.uri_of(address.prefix)} holds more than {MAX_OBJECTS} objects")
        key, size = item.get("Key", ""), item.get("Size", -1)
        if not key or size < 0:
            raise ProtocolFailed(f"the listing of {address.uri_of(address.prefix)} has an object without name or size")
        path = relative_path(key, address.prefix)
        if not path or path.endswith("/"):
            if size:
                raise refused(path or key, "is a folder's name but holds data", address.uri_of(address.path))
            continue
        tag = _quoted(item.get("ETag"))
        if len(key) > LONGEST_KEY or len(tag or "") > LONGEST_TAG:
            raise refused(key, "has a key or a tag that no S3 object can have", address.uri_of(address.path))
        if path == MARKER and not has_marker:
            has_marker = True
        else:
            names.add(path)
        yield Entry(path, key, size, tag, item.get("StorageClass") in ARCHIVES)
    names.finish()


def relative_path(key: str, prefix: str) -> str:
    """Return where an object goes: its key without the prefix, runs of slashes made one. Markers end with a slash."""
    return SLASHES.sub("/", key.removeprefix(prefix)).lstrip("/")


def _quoted(tag: str | None) -> str | None:
    """Return a tag as HTTP writes it, None if there is none; some servers leave the quotes away in listings."""
    bare = (tag or "").strip(QUOTE)
    return f'"{bare}"' if bare else None


def _objects(connection: Connection, address: S3Address) -> Iterator[ObjectTypeDef]:
    pages = connection.pages(address.bucket, address.prefix)
    try:
        first = next(pages, [])
    except ClientError as error:
        answer = Answer.of(error)
        if answer.code not in UNSUPPORTED and str(answer.status) not in UNSUPPORTED:
            raise
        log.info("the server knows only the first version of listings")
        pages, first = connection.old_pages(address.bucket, address.prefix), []
    yield from first
    begins = {item.get("Key") for item in first[:1]}
    for count, page in enumerate(pages, start=2):
        begin = {item.get("Key") for item in page[:1]}
        if count > MAX_PAGES or begin & begins:
            raise ProtocolFailed(f"the S3 server's listing of {address.uri_of(address.prefix)} does not come to an end")
        begins |= begin
        yield from page
