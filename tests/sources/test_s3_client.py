"""Where requests go and who signs them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from downloader.config.s3 import S3Settings, unset_empty
from downloader.errors import AccessDenied, ConfigurationError, SourceNotFound
from downloader.sources.s3.client import S3ApiClient
from tests.servers.certificates import Authority
from tests.servers.messages import Reply, Request
from tests.servers.moto import Moto
from tests.servers.origin import Server
from tests.servers.s3 import fill_bucket
from tests.sources.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from downloader.network import HttpClient
    from downloader.sources.s3 import S3Source

    Maker = Callable[..., S3Source]

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDAKIDAKID", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No credentials anywhere; returns the home folder."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def connection(web: HttpClient, environ: Mapping[str, str]) -> S3ApiClient:
    problems: list[str] = []
    settings = S3Settings.from_environment(environ, problems)
    assert problems == []
    return S3ApiClient(settings, web)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "https://bucket.s3.amazonaws.com/m/a"),
        ({"AWS_REGION": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com/m/a"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com/m/a"),
        (
            {"AIM_S3_ADDRESSING_STYLE": "path", "AWS_REGION": "eu-west-1"},
            "https://s3.eu-west-1.amazonaws.com/bucket/m/a",
        ),
        (
            {"AWS_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
            "https://bucket.s3.dualstack.eu-west-1.amazonaws.com/m/a",
        ),
        (
            {"AWS_REGION": "us-west-2", "AWS_USE_FIPS_ENDPOINT": "true"},
            "https://bucket.s3-fips.us-west-2.amazonaws.com/m/a",
        ),
        ({"S3_USE_ACCELERATE": "1"}, "https://bucket.s3-accelerate.amazonaws.com/m/a"),
        ({"AWS_ENDPOINT_URL": "http://minio:9000"}, "http://minio:9000/bucket/m/a"),
        ({"AWS_ENDPOINT_URL": "https://store.example/s3"}, "https://store.example/s3/bucket/m/a"),
        ({"AWS_ENDPOINT_URL": "http://minio:9000", "S3_USER_VIRTUAL_BUCKET": "1"}, "http://bucket.minio:9000/m/a"),
        ({"S3_ENDPOINT": "ceph:80", "S3_USE_HTTPS": "0"}, "http://ceph:80/bucket/m/a"),
        (
            {"AWS_ENDPOINT_URL": "http://minio:9000", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "http://minio:9000/bucket/m/a",
        ),
    ],
)
def test_an_object_is_at(clean: Path, plain_web: HttpClient, environ: dict[str, str], url: str) -> None:
    del clean
    assert connection(plain_web, KEYS | environ).sign("bucket", "m/a").url == url


def test_a_signature_covers_token_and_payer_and_names_the_version(clean: Path, plain_web: HttpClient) -> None:
    del clean
    environ = {**KEYS, "AWS_SESSION_TOKEN": "token", "S3_REQUEST_PAYER": "requester", "AWS_REGION": "eu-west-1"}
    request = connection(plain_web, environ).sign("bucket", "m/a b", "v1")
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert urlsplit(request.url).query == "versionId=v1"
    assert headers["x-amz-security-token"] == "token"
    assert headers["x-amz-request-payer"] == "requester"
    assert "/eu-west-1/s3/aws4_request" in headers["authorization"]
    assert "x-amz-request-payer;x-amz-security-token" in headers["authorization"]


def test_unsigned_requests_carry_no_authorization(clean: Path, plain_web: HttpClient) -> None:
    del clean
    request = connection(plain_web, {"AIM_S3_ANONYMOUS": "1", **KEYS}).sign("bucket", "m/a")
    assert "authorization" not in {name.lower() for name in request.headers}


def test_a_profile_is_used_and_a_missing_one_is_named(clean: Path, plain_web: HttpClient) -> None:
    (clean / ".aws").mkdir()
    (clean / ".aws/credentials").write_text("[models]\naws_access_key_id = PROFILEKEY\naws_secret_access_key = s\n")
    (clean / ".aws/config").write_text("[profile models]\nregion = eu-north-1\n")
    request = connection(plain_web, {"AWS_PROFILE": "models"}).sign("bucket", "a")
    assert "PROFILEKEY/" in request.headers["Authorization"]
    assert "eu-north-1" in request.url


def test_a_profile_that_does_not_exist_is_a_configuration_error(clean: Path, s3_source: Maker) -> None:
    del clean
    with pytest.raises(ConfigurationError, match="missing"):
        s3_source("s3://bucket/m", {"AWS_PROFILE": "missing"}).manifest()


@pytest.mark.parametrize("environ", [{}, {"AIM_S3_AUTH_MODE": "chain"}, {"AIM_S3_ANONYMOUS": "false"}])
def test_absent_credentials_never_make_requests_anonymous(
    clean: Path, s3_source: Maker, environ: dict[str, str]
) -> None:
    del clean
    with Server(lambda _: Reply("store", 200)) as store, pytest.raises(AccessDenied) as caught:
        s3_source("s3://bucket/m", {"AWS_ENDPOINT_URL": store.origin, **environ}).manifest()
    assert "Unable to locate credentials" in caught.value.message
    for place in ("AWS_ACCESS_KEY_ID", "profile", "web identity", "container", "instance role"):
        assert place in caught.value.message
    assert "AIM_S3_ANONYMOUS=true" in caught.value.hint
    assert not store.log.records()


def test_an_unusable_file_of_keys_is_named_where_credentials_are_missing(clean: Path, s3_source: Maker) -> None:
    (clean / "secret").write_text("\n")
    environ = {"AWS_ACCESS_KEY_ID_FILE": f"{clean}/none", "AWS_SECRET_ACCESS_KEY_FILE": f"{clean}/secret"}
    with pytest.raises(AccessDenied) as caught:
        s3_source("s3://bucket/m", environ).manifest()
    assert f"AWS_ACCESS_KEY_ID_FILE: {clean}/none cannot be read (No such file or directory)" in caught.value.message
    assert f"AWS_SECRET_ACCESS_KEY_FILE: {clean}/secret is empty" in caught.value.message


def test_a_web_identity_is_exchanged_at_the_token_service_and_never_at_the_store(
    clean: Path, monkeypatch: pytest.MonkeyPatch, s3_source: Maker
) -> None:
    (clean / "token").write_text("a.web.token")
    with Moto(clean / "moto", checked=False) as tokens, Server(lambda _: Reply("store", 404)) as store:
        # What the node's agent puts into a pod, and what the process then has in its environment.
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(clean / "token"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.origin)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", tokens.endpoint)
        environ = {"AWS_ENDPOINT_URL": store.origin, "AWS_ENDPOINT_URL_STS": tokens.endpoint}
        with pytest.raises(SourceNotFound):
            s3_source("s3://bucket/m", environ).manifest()
        seen = [record.request for record in store.log.records()]
        assert seen
        assert all(request.method in ("GET", "HEAD") for request in seen)
        assert all("x-amz-security-token" in request.headers for request in seen)


def test_a_store_is_never_taken_for_the_token_service(
    clean: Path, monkeypatch: pytest.MonkeyPatch, s3_source: Maker
) -> None:
    (clean / "token").write_text("a.web.token")
    with Server(lambda _: Reply("store", 404)) as store:
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(clean / "token"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.origin)
        # The stand-in for the token service must not be asked over the network.
        monkeypatch.setenv("HTTPS_PROXY", store.origin)
        monkeypatch.setenv("https_proxy", store.origin)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(Exception, match="token service"):
            s3_source("s3://bucket/m", {"AWS_ENDPOINT_URL": store.origin}).manifest()
        assert {record.request.method for record in store.log.records()} <= {"CONNECT"}


LISTING = b"""<ListBucketResult><IsTruncated>false</IsTruncated>
<Contents><Key>m/a</Key><Size>4</Size><ETag>"tag"</ETag></Contents></ListBucketResult>"""


def strict_about_regions(request: Request) -> Reply:
    """Answer as MinIO and AWS do when a request is signed for another region than theirs."""
    if "/eu-west-7/s3/" not in request.headers.get("authorization", ""):
        body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-7</Region></Error>"
        return Reply("refusal", 400, {"x-amz-bucket-region": "eu-west-7"}, b"" if request.method == "HEAD" else body)
    if request.path == "/bucket":
        return Reply("listing", 200, {}, LISTING)
    return Reply("object", 200, {"ETag": '"tag"'}, b"data")


def test_a_wrong_region_is_put_right_and_remembered(s3_source: Maker) -> None:
    with Server(strict_about_regions) as server:
        source = s3_source("s3://bucket/m", {"AWS_ENDPOINT_URL": server.origin, "AWS_REGION": "us-east-1", **KEYS})
        file = source.manifest().files[0]
        assert file.size == 4
        before = len(server.log.records("refusal"))
        assert read(source, file) == b"data"
        assert len(server.log.records("refusal")) == before


def test_requests_go_through_the_proxy_that_the_environment_names(s3_source: Maker) -> None:
    def proxy(request: Request) -> Reply:
        assert request.target.startswith("http://store.invalid/bucket")
        if "list-type" in request.target:
            return Reply("listing", 200, {}, LISTING)
        return Reply("head", 200, {}, b"data") if request.path.endswith("/m/a") else Reply("head", 404)

    with Server(proxy) as server:
        environ = {"AWS_ENDPOINT_URL": "http://store.invalid", "HTTP_PROXY": server.origin, **KEYS}
        assert s3_source("s3://bucket/m", environ).manifest().files[0].path == "a"


def test_a_store_over_tls_is_read_with_its_own_authority(s3_source: Maker, tmp_path: Path) -> None:
    with Moto(tmp_path / "moto", authority=Authority(tmp_path / "ca")) as server:
        fill_bucket(server.client(), "models", {"m/a": b"content"})
        assert [file.path for file in s3_source("s3://models/m", server.environment()).manifest().files] == ["a"]


def test_variables_that_are_set_to_nothing_are_taken_out_of_the_sdk_s_sight() -> None:
    environ = {"AWS_PROFILE": "", "AWS_MAX_ATTEMPTS": " ", "AWS_REGION": "eu-west-1", "HOME": ""}
    unset_empty(environ)
    assert environ == {"AWS_REGION": "eu-west-1", "HOME": ""}
