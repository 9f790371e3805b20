"""The S3 server of the suite refuses what a real one refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.servers.certificates import Authority
from tests.servers.moto import Moto
from tests.servers.s3 import MIB, SMALLEST_PART, Account, fill_bucket, upload_in_parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        fill_bucket(server.client(), "models", {"a": b"content"})
        yield server


def test_the_owner_may_read(server: Moto) -> None:
    assert server.client().get_object(Bucket="models", Key="a")["Body"].read() == b"content"


def test_a_stranger_is_denied(server: Moto) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        server.client(server.stranger).get_object(Bucket="models", Key="a")


def test_an_unknown_key_is_refused(server: Moto) -> None:
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        server.client(Account("UNKNOWNUNKNOWN", "secret")).list_objects_v2(Bucket="models")


def test_a_wrong_secret_is_refused(server: Moto) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        server.client(Account(server.account.access_key_id, "wrong")).list_objects_v2(Bucket="models")


def test_an_upload_in_parts_carries_their_number_in_its_tag(server: Moto) -> None:
    content = b"x" * (2 * SMALLEST_PART + MIB)
    assert upload_in_parts(server.client(), "models", "parts", content).strip('"').endswith("-3")


def test_it_speaks_tls(tmp_path: Path) -> None:
    with Moto(tmp_path / "moto", authority=Authority(tmp_path / "ca")) as server:
        fill_bucket(server.client(), "models", {"a": b"content"})
        assert server.endpoint.startswith("https://")
