"""The command on S3 through gateways that say more, or something else, than the store behind them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
from typing import TYPE_CHECKING

import pytest

from tests.command import model, run
from tests.servers.blobs import Noise
from tests.servers.bucket import Bucket
from tests.servers.messages import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
MODEL = Noise(9 * MIB + 77, seed=61).bytes()
TEXT = b'{"text": "that packs well"}' * 30_000


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as bucket:
        yield bucket


@pytest.mark.parametrize("uri", ["s3://bucket/m", "s3://bucket/m/model.bin"])
@pytest.mark.parametrize("protocol", ["S3", "HTTP", "S3,HTTP"])
def test_nodes_with_tags_of_their_own_are_one_store_where_a_checksum_proves_the_object(
    bucket: Bucket, tmp_path: Path, uri: str, protocol: str
) -> None:
    checksum = {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(MODEL).digest()).decode()}
    bucket.put("m/model.bin", MODEL, checksum)
    answer, tags = bucket.server.application, itertools.cycle(['"node-a"', '"node-b"'])

    def any_node(request: Request) -> Reply:
        reply = answer(request)
        if reply.route == "object":
            reply.headers["ETag"] = next(tags)
        return reply

    bucket.server.application = any_node
    extra = {**bucket.environment, "AIM_DOWNLOADER_PROTOCOL": protocol}
    result = run("download", uri, tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": MODEL}
    assert "1 verified by sha256" in result.stderr


def test_an_object_that_is_replaced_is_still_noticed_where_it_has_a_checksum(bucket: Bucket, tmp_path: Path) -> None:
    other = MODEL[::-1]

    def put(content: bytes) -> None:
        checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
        bucket.put("m/model.bin", content, {"x-amz-checksum-sha256": checksum})

    put(MODEL)
    answer, reads = bucket.server.application, itertools.count()

    def replaced_meanwhile(request: Request) -> Reply:
        if request.method == "GET" and request.path.endswith("model.bin") and next(reads) == 0:
            put(other)
        return answer(request)

    bucket.server.application = replaced_meanwhile
    result = run("download", "s3://bucket/m", tmp_path, extra=bucket.environment)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": other}


@pytest.mark.parametrize("protocol", ["S3", "HTTP"])
def test_objects_that_a_store_would_unpack_come_as_they_are_stored(
    bucket: Bucket, tmp_path: Path, protocol: str
) -> None:
    packed = {"m/a.json": gzip.compress(TEXT), "m/sub/b.json": gzip.compress(TEXT[1:])}
    for key, content in packed.items():
        bucket.put(key, content)
    bucket.put("m/model.bin", MODEL)
    answer = bucket.server.application

    def unpacking(request: Request) -> Reply:
        """Answer as GCS does."""
        key = request.path.removeprefix("/bucket/")
        reply = answer(request)
        if key not in packed or reply.route != "object":
            return reply
        stored = {"x-goog-stored-content-encoding": "gzip", "x-goog-stored-content-length": str(len(packed[key]))}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Reply("object", 200, {**reply.headers, **stored, "Content-Encoding": "gzip"}, packed[key])
        if request.method == "HEAD":
            return reply
        return Reply("object", 200, {**reply.headers, **stored}, gzip.decompress(packed[key]), divisible=False)

    bucket.server.application = unpacking
    extra = {**bucket.environment, "AIM_DOWNLOADER_PROTOCOL": protocol}
    result = run("download", "s3://bucket/m", tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    expected = {key.removeprefix("m/"): content for key, content in packed.items()}
    assert model(tmp_path) == {**expected, "model.bin": MODEL}
    assert "3 verified by md5" in result.stderr
