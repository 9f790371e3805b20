"""What is signed after a pattern is what botocore would sign."""

from __future__ import annotations

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from downloader.sources.s3.signing import RequestTemplate, SignedRequest, Signer
from tests.adversarial.test_fuzz import QUICK

CREDENTIALS = Credentials("AKIDAKIDAKID", "secret", "token")
KEYS = st.text(st.sampled_from("ab/~ +%?#&=\u00e9.'\""), min_size=1, max_size=12)


def by_botocore(method: str, url: str, headers: dict[str, str], timestamp: str | None = None) -> dict[str, str]:
    """Sign in botocore's way, at a certain moment if one is named."""
    request = AWSRequest(method, url, headers)
    auth = S3SigV4Auth(CREDENTIALS.get_frozen_credentials(), "s3", "eu-west-1")
    auth.add_auth(request)
    if timestamp is None:
        return dict(request.headers.items())
    del request.headers["Authorization"]
    del request.headers["X-Amz-Date"]
    request.headers["X-Amz-Date"] = request.context["timestamp"] = timestamp
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    scope = f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}"
    names = auth.signed_headers(auth.headers_to_sign(request))
    return {**request.headers, "Authorization": f"{scope}, SignedHeaders={names}, Signature={signature}"}


def prepared(_bucket: str, key: str, _version: str | None) -> SignedRequest:
    url = f"https://store.test:8080/s3/bucket/{RequestTemplate('', '', {}, '', '').path(key)}"
    return SignedRequest(url, by_botocore("GET", url, {"x-amz-request-payer": "requester"}))


@QUICK
@given(first=KEYS, key=KEYS, version=st.none() | KEYS)
@example("a", "b c/\u00e9", "v=1&x")
def test_other_objects_are_signed_as_botocore_signs_them(first: str, key: str, version: str | None) -> None:
    signer = Signer(prepared, lambda: CREDENTIALS)
    signer.sign("bucket", first)
    for method, request in (("GET", signer.sign("bucket", key, version)), ("HEAD", signer.sign_head("bucket", key))):
        assert request is not None
        own = {"x-amz-request-payer": "requester"}
        if method == "HEAD":
            own["x-amz-checksum-mode"] = "ENABLED"
        assert request.headers == by_botocore(method, request.url, own, request.headers["X-Amz-Date"])
    assert signer.sign("bucket", key).url == prepared("bucket", key, None).url


@pytest.mark.parametrize("headers", [{}, {"Authorization": "AWS KEY:signature"}])
def test_what_is_not_signed_in_the_usual_way_is_left_to_botocore(headers: dict[str, str]) -> None:
    signer = Signer(lambda _bucket, key, _version: SignedRequest(f"https://store.test/{key}", headers), lambda: None)
    assert signer.sign("bucket", "key").headers == headers
    assert signer.sign_head("bucket", "key") is None
