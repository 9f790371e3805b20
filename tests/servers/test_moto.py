"""The S3 server of the suite refuses what a real one refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.servers.certificates import Authority
from tests.servers.moto import Moto
from tests.servers.s3 import MIB, SMALLEST_PART, Account, fill_bucket, upload_in_parts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.s3 import S3Server


@pytest.fixture(scope="module")
def server(s3: S3Server) -> S3Server:
    fill_bucket(s3.client(), "moto-itself", {"a": b"content"})
    return s3


def test_the_owner_may_read(server: S3Server) -> None:
    assert server.client().get_object(Bucket="moto-itself", Key="a")["Body"].read() == b"content"


def test_a_stranger_is_denied(server: S3Server) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        server.client(server.stranger).get_object(Bucket="moto-itself", Key="a")


def test_an_unknown_key_is_refused(server: S3Server) -> None:
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        server.client(Account("UNKNOWNUNKNOWN", "secret")).list_objects_v2(Bucket="moto-itself")


def test_a_wrong_secret_is_refused(server: S3Server) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        server.client(Account(server.account.access_key_id, "wrong")).list_objects_v2(Bucket="moto-itself")


def test_an_upload_in_parts_carries_their_number_in_its_tag(server: S3Server) -> None:
    content = b"x" * (2 * SMALLEST_PART + MIB)
    assert upload_in_parts(server.client(), "moto-itself", "parts", content).strip('"').endswith("-3")


def test_it_speaks_tls(tmp_path: Path) -> None:
    with Moto(tmp_path / "moto", authority=Authority(tmp_path / "ca")) as server:
        fill_bucket(server.client(), "moto-itself", {"a": b"content"})
        assert server.endpoint.startswith("https://")
