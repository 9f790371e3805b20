"""Signed requests for objects: the first of a bucket is prepared by botocore's client, the others after its pattern.

The client takes milliseconds for each: it looks the endpoint up anew for each key. What differs between two objects of
a bucket is the path, so the others are only signed, by botocore's signer.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.credentials import Credentials

SIGNED_FOR = 20.0
"""Seconds that a signature is used again. Services take one for minutes, but credentials may expire any moment."""
MOST_SIGNED = 4096
SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]*/[0-9]{8}/([^/,]+)/([^/,]+)/aws4_request,.*")
SIGNATURE = frozenset({"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A GET that the server will accept for some minutes; Range and If-Match may be added to it."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the requests for all objects of a bucket have in common."""

    base: str
    headers: Mapping[str, str]
    region: str
    service: str

    @classmethod
    def of(cls, request: SignedRequest, key: str) -> Pattern | None:
        """Return the pattern of a request for this key; None where it is not signed in the usual way."""
        path = quote(key, safe="/~")
        headers = {name.lower(): value for name, value in request.headers.items()}
        scope = SCOPE.fullmatch(headers.get("authorization", ""))
        if scope is None or not request.url.endswith(path):
            return None
        common = {name: value for name, value in headers.items() if name not in SIGNATURE}
        return cls(request.url.removesuffix(path), common, scope.group(1), scope.group(2))

    def sign(self, key: str, version: str | None, credentials: Credentials) -> SignedRequest:
        """Return a request for another object of the bucket."""
        url = self.base + quote(key, safe="/~")
        if version:
            url += "?versionId=" + quote(version, safe="-_.~")
        request = AWSRequest("GET", url, dict(self.headers))
        S3SigV4Auth(credentials.get_frozen_credentials(), self.service, self.region).add_auth(request)
        return SignedRequest(url, dict(request.headers.items()))


class Signer:
    """Signs for many threads; a signature serves all spans of some seconds, since the span is no part of it."""

    def __init__(
        self, prepare: Callable[[str, str, str | None], SignedRequest], credentials: Callable[[], Credentials | None]
    ) -> None:
        """`prepare` makes a request from bucket, key and version in botocore's own way."""
        self._prepare = prepare
        self._credentials = credentials
        self._patterns: dict[str, Pattern | None] = {}
        self._signed: dict[tuple[str, str, str | None], tuple[float, SignedRequest]] = {}

    def sign(self, bucket: str, key: str, version: str | None = None) -> SignedRequest:
        """Return a request for an object that was signed just now. No network, but for credentials that expire."""
        now = time.monotonic()
        signed_at, request = self._signed.get((bucket, key, version), (0.0, None))
        if request is None or now - signed_at > SIGNED_FOR:
            request = self._fresh(bucket, key, version)
            if len(self._signed) >= MOST_SIGNED:
                self._signed.clear()
            self._signed[bucket, key, version] = (now, request)
        return request

    def _fresh(self, bucket: str, key: str, version: str | None) -> SignedRequest:
        if bucket not in self._patterns:
            # Without a version: that is not in the path.
            self._patterns[bucket] = Pattern.of(self._prepare(bucket, key, None), key)
        pattern, credentials = self._patterns[bucket], self._credentials()
        if pattern is None or credentials is None:
            return self._prepare(bucket, key, version)
        return pattern.sign(key, version, credentials)

    def forget(self) -> None:
        """Begin anew: something was refused, perhaps because it had expired or is in another region."""
        self._signed.clear()
        self._patterns.clear()
