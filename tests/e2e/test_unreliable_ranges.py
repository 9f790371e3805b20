"""Nodes that answer ranges in other ways, behind the Hub's and an S3 service's name: right bytes from both.

Web servers are in tests/faults/test_web_versions.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.command import model, run
from tests.servers.blobs import Noise
from tests.servers.bucket import Bucket
from tests.servers.faults import FOREVER, EveryNth, Fault, Headers, IgnoreRange, ShiftRange, ShortenRange

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub

MIB = 1 << 20
FILES = {"model.safetensors": Noise(21 * MIB + 4321, seed=51).bytes(), "config.json": b"{}"}
ENCRYPTED = {"ETag": '"9b2cf535f27731c974343645a3985328"', "x-amz-server-side-encryption": "aws:kms"}
"""Of such an object the tag proves nothing."""
UNRELIABLE: dict[str, Fault] = {
    "one wrong range in four": EveryNth(ShiftRange(by=5), 4),
    "every other node ignoring ranges": EveryNth(IgnoreRange(), 2),
    "no node knowing ranges": IgnoreRange(),
    "answers of at most a megabyte": ShortenRange(to=MIB - 1),
}


@pytest.mark.parametrize("sentence", UNRELIABLE)
def test_a_repository_comes_whole_despite(hub: Hub, tmp_path: Path, sentence: str) -> None:
    hub.create("org/model").commit(FILES)
    hub.faults.add(UNRELIABLE[sentence], route="cdn", times=FOREVER)
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER,HTTP", "AIM_ACCEPT_ANY": "true"}
    result = run("download", "hf://org/model", tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES


def test_a_bucket_whose_answers_do_not_repeat_the_entity_tag_comes_in_one_stream_for_each_file(tmp_path: Path) -> None:
    with Bucket() as bucket:
        for path, content in FILES.items():
            bucket.put(f"m/{path}", content, ENCRYPTED)
        bucket.faults.add(Headers({"ETag": None}), route="object", method="GET", times=FOREVER)
        result = run("download", "s3://bucket/m", tmp_path, extra={**bucket.environment, "AIM_ACCEPT_ANY": "true"})
        asked = [record.range for record in bucket.log.records("object", method="GET", path="*.safetensors")]
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
    assert asked[-1] is None


@pytest.mark.parametrize("known", [True, False], ids=["a digest is known", ""])
@pytest.mark.parametrize("sentence", UNRELIABLE)
def test_a_bucket_comes_whole_despite(tmp_path: Path, sentence: str, *, known: bool) -> None:
    with Bucket() as bucket:
        for path, content in FILES.items():
            bucket.put(f"m/{path}", content, {} if known else ENCRYPTED)
        bucket.faults.add(UNRELIABLE[sentence], route="object", method="GET", times=FOREVER)
        extra = {**bucket.environment, "AIM_ACCEPT_ANY": "true"}
        result = run("download", "s3://bucket/m", tmp_path, extra=extra)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == FILES
