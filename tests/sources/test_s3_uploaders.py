"""What real uploaders leave in real buckets is proved: their part sizes and their checksums, not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from downloader.integrity import Hasher, compare_digests
from tests.servers.blobs import Noise
from tests.servers.process import MissingProgram
from tests.servers.rclone import Rclone
from tests.servers.s3 import new_bucket
from tests.servers.uploaders import UPLOADERS
from tests.sources.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from downloader.sources.s3 import S3Source
    from tests.servers.s3 import S3Server
    from tests.servers.uploaders import Uploader

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("uploader", UPLOADERS, ids=str)
def test_an_upload_is_proved_whichever_tool_made_it(
    any_s3: S3Server, s3_source: Callable[..., S3Source], tmp_path: Path, uploader: Uploader
) -> None:
    bucket = new_bucket(any_s3.client())
    (tmp_path / "files").mkdir()
    for name, size in (("small", 100_001), ("large", uploader.part_size + 777_777)):
        (tmp_path / "files" / name).write_bytes(Noise(size, seed=size).bytes())
    try:
        uploader.put(any_s3, tmp_path / "files", bucket, "m")
    except MissingProgram as missing:
        pytest.skip(str(missing))
    source = s3_source(f"s3://{bucket}/m", any_s3.environment())
    proofs = {}
    for file in source.manifest().files:
        hasher = Hasher(file.size, file.digests)
        hasher.update(memoryview(read(source, file)))
        proofs[file.path] = compare_digests(file, hasher.results()).proof
    # The tag of rclone's server is the MD5 of the whole, however it came.
    assert sorted(proofs) == ["large", "small"]
    assert proofs["large"] == ("md5" if isinstance(any_s3, Rclone) else "etag")
    assert proofs["small"] in ("md5", "crc32", "crc64nvme")
