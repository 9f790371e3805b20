"""What a URI names is what comes: spaces, percent signs and capitals, over every scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.command import model, run
from tests.servers.s3 import new_bucket

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.broken import BrokenWeb
    from tests.servers.certificates import Authority
    from tests.servers.s3 import S3Server
    from tests.servers.web import WebServer

FOLDER, NAME = "Text Encoder \u6a21\u578b\u3000A", "a b%20c.bin"


@pytest.mark.parametrize("scheme", ["s3", "S3"])
@pytest.mark.parametrize("path", [FOLDER, f"{FOLDER}/", f"{FOLDER}/{NAME}"])
def test_keys_of_s3_are_named_as_they_are(s3: S3Server, tmp_path: Path, scheme: str, path: str) -> None:
    client = s3.client()
    bucket = new_bucket(client)
    for key in (f"{FOLDER}/{NAME}", f"{FOLDER}2/{NAME}"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    result = run("download", f"{scheme}://{bucket}/{path}", tmp_path, extra=s3.environment())
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {NAME: f"{FOLDER}/{NAME}".encode()}


def test_percent_encoding_in_a_key_that_is_not_there_is_pointed_out(s3: S3Server, tmp_path: Path) -> None:
    client = s3.client()
    bucket = new_bucket(client)
    client.put_object(Bucket=bucket, Key="Text Encoder/a", Body=b"a")
    result = run("download", f"s3://{bucket}/Text%20Encoder", tmp_path, extra=s3.environment())
    assert result.status == 66, result.stderr
    assert "keys are taken as they are: write a space and not %20" in result.last_line


@pytest.mark.parametrize("path", ["Text Encoder/a b.bin", "Text%20Encoder/a%20b.bin", "Text Encoder/a%20b.bin"])
def test_web_addresses_may_have_spaces_or_their_encoding(own_web: BrokenWeb, tmp_path: Path, path: str) -> None:
    own_web.put("Text Encoder/a b.bin", b"content")
    uri = own_web.url(path).replace("http://", "HTTP://")
    result = run("download", uri, tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"a b.bin": b"content"}


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_bundle_that_all_tools_name_is_trusted(
    web: WebServer, web_root: Path, authority: Authority, tmp_path: Path, name: str
) -> None:
    (web_root / f"{name}.bin").write_bytes(b"content")
    uri = f"{web.secure_url}/{name}.bin"
    assert run("size", uri).status == 78
    result = run("download", uri, tmp_path, extra={name: str(authority.bundle)})
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {f"{name}.bin": b"content"}
