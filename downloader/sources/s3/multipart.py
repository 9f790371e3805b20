"""How an object was cut into parts: asked where the server tells, guessed where it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.artifact import Mismatch
from downloader.integrity import OF_PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.artifact import Digest
    from downloader.sources.s3.client import S3ApiClient
    from downloader.sources.s3.object_info import ObjectInfo

MIB, MB, GIB = 1 << 20, 10**6, 1 << 30
USUAL = (8, 16, 5, 50, 15, 10, 64, 32, 128, 25, 20, 100, 256, 512)
"""What uploaders take by default, in MiB or MB: boto3 and the AWS CLI 8, rclone 5, s5cmd 50, s3cmd 15, MinIO 16."""
MAX_PARTS = 10_000
MAX_ASKED = 64
"""Parts that are asked for one by one."""
MAX_GUESSES = 8
MAX_GUESSES_OF_LARGE = 3
"""Each guess costs one more MD5 of the whole object, 1.45 CPU seconds for a GiB."""

Layouts = tuple[tuple[int, ...], ...]


def with_layouts(client: S3ApiClient, bucket: str, key: str, info: ObjectInfo) -> ObjectInfo:
    """Return the info with what is needed to compute digests of parts; what stays unknown is left out."""
    if not any(digest.algorithm in OF_PARTS for digest in info.digests):
        return info
    return replace(info, digests=tuple(_completed(client, bucket, key, info)))


def _completed(client: S3ApiClient, bucket: str, key: str, info: ObjectInfo) -> Iterator[Digest]:
    asked: dict[int, tuple[Layouts, Mismatch]] = {}
    for digest in info.digests:
        if digest.algorithm not in OF_PARTS:
            yield digest
            continue
        count = int(digest.value.rpartition("-")[2])
        if count not in asked:
            known = _known(client, bucket, key, info, count)
            # Even what the server tells leaves room for doubt: between its first part and its last may be others.
            asked[count] = (known, Mismatch.AMBIGUOUS) if known else (guesses(info.size, count), Mismatch.NOTHING)
        layouts, mismatch = asked[count]
        if layouts:
            yield replace(digest, layouts=layouts, mismatch=mismatch)


def _known(client: S3ApiClient, bucket: str, key: str, info: ObjectInfo, count: int) -> Layouts:
    if count == 1:
        return ((max(1, info.size),),)
    first = client.part(bucket, key, 1, info.version)
    if first is not None and first.count == count:
        if _fits(first.size, info.size, count):
            return ((first.size,),)
        if count <= MAX_ASKED:
            others = [client.part(bucket, key, number, info.version) for number in range(2, count + 1)]
            return _layout([first.size, *(part.size for part in others if part is not None)], info.size, count)
    return _layout(client.listed_parts(bucket, key, info.version), info.size, count)


def _layout(sizes: list[int], size: int, count: int) -> Layouts:
    return (tuple(sizes),) if len(sizes) == count > 0 and sum(sizes) == size and min(sizes) > 0 else ()


def guesses(size: int, count: int) -> Layouts:
    """Return sizes of equal parts, the last one smaller, that cut an object of `size` bytes into `count` parts."""
    if not 1 <= count <= MAX_PARTS or size < count:
        return ()
    exact = -(-size // count)
    candidates = [
        *(number * unit for unit in (MIB, MB) for number in USUAL),
        *(-(-exact // unit) * unit for unit in (5 * MIB, MIB, 1 << 10)),
        size // MAX_PARTS + 1,  # what AWS's Go library takes where its usual size would give too many parts
        exact,
    ]
    fitting = dict.fromkeys(candidate for candidate in candidates if _fits(candidate, size, count))
    return tuple((candidate,) for candidate in fitting)[: MAX_GUESSES if size <= GIB else MAX_GUESSES_OF_LARGE]


def _fits(part: int, size: int, count: int) -> bool:
    return (count - 1) * part < size <= count * part
