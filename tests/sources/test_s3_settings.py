"""The environment's S3 names, one row per rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from downloader.config.s3 import S3Settings
from downloader.config.s3_values import AddressingStyle, Authentication

ID, SECRET = "AKIDAKIDAKID", "secret"


def settings(**environ: str) -> S3Settings:
    problems: list[str] = []
    found = S3Settings.from_environment(environ, problems)
    assert problems == []
    return found


def problem(**environ: str) -> str:
    problems: list[str] = []
    S3Settings.from_environment(environ, problems)
    assert len(problems) == 1
    return problems[0]


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        ({"AWS_ENDPOINT_URL": ""}, None),
        ({"AWS_ENDPOINT_URL": "http://minio:9000/"}, "http://minio:9000"),
        ({"AWS_ENDPOINT_URL": "minio:9000"}, "https://minio:9000"),
        ({"AWS_ENDPOINT_URL": "minio:9000", "S3_NO_SSL": "true"}, "http://minio:9000"),
        ({"AWS_ENDPOINT_URL": "minio:9000", "S3_USE_HTTPS": "0"}, "http://minio:9000"),
        ({"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_S3": "https://b"}, "https://a"),
        ({"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "https://b"}, "https://b"),
        ({"AWS_ENDPOINT_URL": "https://a", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, "https://a"),
        ({"S3_ENDPOINT": "ceph:80", "S3_USE_HTTPS": "1"}, "https://ceph:80"),
        ({"S3_ENDPOINT": "ceph:80", "S3_USE_HTTPS": "0"}, "http://ceph:80"),
        ({"S3_ENDPOINT": "ceph:80", "AWS_ENDPOINT_URL": "http://ceph:80", "S3_USE_HTTPS": "0"}, "http://ceph:80"),
    ],
)
def test_the_endpoint_is(environ: dict[str, str], url: str | None) -> None:
    assert settings(**environ).url == url


@pytest.mark.parametrize(
    "url", ["ftp://host", "https://", "https://user:word@host", "https://host?x=1", "http://host:port", "http://[::1"]
)
def test_an_unusable_endpoint_is_a_problem_that_tells_no_secret(url: str) -> None:
    text = problem(AWS_ENDPOINT_URL=url)
    assert text.startswith("AWS_ENDPOINT_URL: ")
    assert "word" not in text


def test_https_is_never_downgraded_silently() -> None:
    assert "remove one of them" in problem(AWS_ENDPOINT_URL="https://host", S3_NO_SSL="true")


def test_two_endpoints_that_differ_are_worth_a_warning() -> None:
    assert "AWS_ENDPOINT_URL counts" in settings(AWS_ENDPOINT_URL="http://a", S3_ENDPOINT="b:1").warnings[0]


@pytest.mark.parametrize(
    ("environ", "style"),
    [
        ({}, AddressingStyle.AUTO),
        ({"AWS_ENDPOINT_URL": "http://a"}, AddressingStyle.PATH),
        ({"AWS_ENDPOINT_URL": "http://a", "S3_USER_VIRTUAL_BUCKET": "true"}, AddressingStyle.VIRTUAL),
        ({"AWS_ENDPOINT_URL": "http://a", "AIM_S3_ADDRESSING_STYLE": "Virtual"}, AddressingStyle.VIRTUAL),
        ({"AIM_S3_ADDRESSING_STYLE": "path", "S3_USER_VIRTUAL_BUCKET": "true"}, AddressingStyle.PATH),
    ],
)
def test_the_bucket_stands_in(environ: dict[str, str], style: AddressingStyle) -> None:
    assert settings(**environ).style is style


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Authentication.CHAIN),
        ({"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET}, Authentication.STATIC),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, Authentication.ANONYMOUS),
        ({"AWS_ACCESS_KEY_ID": ""}, Authentication.ANONYMOUS),
        ({"AWS_SECRET_ACCESS_KEY": "anonymous"}, Authentication.ANONYMOUS),
        ({"AIM_S3_ANONYMOUS": "yes", "AWS_ACCESS_KEY_ID": ID}, Authentication.ANONYMOUS),
        ({"awsAnonymousCredential": "True"}, Authentication.ANONYMOUS),
        ({"AIM_S3_AUTH_MODE": "anonymous", "AWS_ACCESS_KEY_ID": ID}, Authentication.ANONYMOUS),
        ({"AIM_S3_AUTH_MODE": "chain", "AWS_ACCESS_KEY_ID": "", "AIM_S3_ANONYMOUS": "1"}, Authentication.CHAIN),
        (
            {"AIM_S3_AUTH_MODE": "static", "AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET},
            Authentication.STATIC,
        ),
    ],
)
def test_credentials_come_from(environ: dict[str, str], expected: Authentication) -> None:
    assert settings(**environ).authentication is expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": ""}, "contradictory"),
        ({"AWS_ACCESS_KEY_ID": "anonymous", "AWS_SECRET_ACCESS_KEY": SECRET}, "contradictory"),
        ({"AWS_ACCESS_KEY_ID": ID}, "AWS_SECRET_ACCESS_KEY is missing"),
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "AWS_ACCESS_KEY_ID is missing"),
        ({"AIM_S3_AUTH_MODE": "static", "AWS_ACCESS_KEY_ID": ID}, "needs both"),
        ({"AIM_S3_AUTH_MODE": "static", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": SECRET}, "needs both"),
        ({"AIM_S3_AUTH_MODE": "magic"}, "one of chain, static, anonymous"),
        ({"AIM_S3_ADDRESSING_STYLE": "diagonal"}, "one of path, virtual, auto"),
        ({"AIM_S3_SIGNATURE_VERSION": "s3v5"}, "s3v4 (version 4) or s3 (version 2)"),
        ({"AIM_S3_MAX_WORKERS": "65"}, "from 1 to 64"),
        ({"AIM_S3_MAX_CONCURRENCY": "0"}, "from 1 to 64"),
        ({"AIM_S3_MULTIPART_CHUNKSIZE_MB": "4"}, "from 5 to 5120"),
        ({"AIM_S3_INSECURE_SKIP_VERIFY": "maybe"}, "1/true/yes/on"),
    ],
)
def test_what_cannot_be_meant_is_a_problem(environ: dict[str, str], expected: str) -> None:
    text = problem(**environ)
    assert expected in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("environ", "verify", "trusted"),
    [
        ({}, True, ()),
        ({"AWS_CA_BUNDLE": ""}, True, ()),
        ({"AWS_CA_BUNDLE": "/a.pem", "AIM_S3_CA_BUNDLE": "/b.pem"}, True, (Path("/a.pem"),)),
        ({"AIM_S3_CA_BUNDLE": "/b.pem"}, True, (Path("/b.pem"),)),
        (
            {"CA_BUNDLE_CONFIGMAP_NAME": "ca", "CA_BUNDLE_VOLUME_MOUNT_POINT": "/etc/ca"},
            True,
            (Path("/etc/ca/cabundle.crt"),),
        ),
        ({"AIM_S3_INSECURE_SKIP_VERIFY": "true", "AWS_CA_BUNDLE": "/a.pem"}, False, (Path("/a.pem"),)),
        ({"AIM_S3_INSECURE_SKIP_VERIFY": "false", "S3_VERIFY_SSL": "0"}, True, ()),
        ({"S3_VERIFY_SSL": "0"}, False, ()),
    ],
)
def test_certificates_are_trusted(environ: dict[str, str], verify: bool, trusted: tuple[Path, ...]) -> None:  # noqa: FBT001
    found = settings(**environ)
    assert (found.verify, found.trusted) == (verify, trusted)


def test_keys_come_from_files_and_lose_their_line_ends(tmp_path: Path) -> None:
    (tmp_path / "id").write_text(f"{ID}\n")
    (tmp_path / "secret").write_text(f" {SECRET}\n")
    found = settings(
        AIM_S3_AUTH_MODE="static",
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        AWS_ACCESS_KEY_ID_FILE=str(tmp_path / "id"),
        AWS_SECRET_ACCESS_KEY_FILE=str(tmp_path / "secret"),
        AWS_SESSION_TOKEN_FILE="",
    )
    assert (found.access_key_id, found.secret_access_key, found.session_token) == (ID, SECRET, "")


def test_a_file_that_cannot_be_read_counts_as_unset_and_is_named(tmp_path: Path) -> None:
    found = settings(AWS_REGION_FILE=str(tmp_path / "none"), AWS_DEFAULT_REGION="eu-west-1")
    assert found.region == "eu-west-1"
    assert str(tmp_path / "none") in found.warnings[0]


def test_an_empty_file_counts_as_unset(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("\n")
    assert settings(AWS_ACCESS_KEY_ID_FILE=str(tmp_path / "id")).authentication is Authentication.CHAIN


@pytest.mark.parametrize("mode", [{"AIM_S3_AUTH_MODE": "static"}, {}])
def test_an_unusable_file_of_keys_is_named_as_the_cause(tmp_path: Path, mode: dict[str, str]) -> None:
    (tmp_path / "id").write_text(ID)
    (tmp_path / "secret").mkdir()
    text = problem(
        AWS_ACCESS_KEY_ID_FILE=str(tmp_path / "id"), AWS_SECRET_ACCESS_KEY_FILE=str(tmp_path / "secret"), **mode
    )
    assert f"AWS_SECRET_ACCESS_KEY_FILE: {tmp_path}/secret cannot be read (Is a directory)" in text
    (tmp_path / "empty").touch()
    text = problem(
        AWS_ACCESS_KEY_ID_FILE=str(tmp_path / "id"), AWS_SECRET_ACCESS_KEY_FILE=str(tmp_path / "empty"), **mode
    )
    assert f"AWS_SECRET_ACCESS_KEY_FILE: {tmp_path}/empty is empty" in text


def test_secrets_are_not_printed() -> None:
    text = repr(settings(AWS_ACCESS_KEY_ID=ID, AWS_SECRET_ACCESS_KEY=SECRET, AWS_SESSION_TOKEN="token-token"))
    assert ID not in text
    assert SECRET not in text
    assert "token-token" not in text


def test_a_typed_connection_with_a_role_is_understood() -> None:
    empty = (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CA_BUNDLE",
        "S3_ENDPOINT",
        "S3_NO_SSL",
    )
    found = settings(
        AWS_ENDPOINT_URL="https://store.example",
        AWS_REGION="eu-north-1",
        AWS_DEFAULT_REGION="eu-north-1",
        AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true",
        AIM_S3_AUTH_MODE="chain",
        AIM_S3_INSECURE_SKIP_VERIFY="false",
        AIM_S3_ADDRESSING_STYLE="virtual",
        AIM_S3_SIGNATURE_VERSION="s3v4",
        **dict.fromkeys(empty, ""),
    )
    assert (found.url, found.region, found.authentication) == (
        "https://store.example",
        "eu-north-1",
        Authentication.CHAIN,
    )
    assert (found.style, found.trusted, found.verify) == (AddressingStyle.VIRTUAL, (), True)
