"""Signed requests for objects: the first of a bucket is prepared by botocore's client, the others after its template.

The client takes milliseconds for each: it looks the endpoint up again for each key. What differs between two objects of
a bucket is the path. So botocore's signer signs one of them at a moment in full, and of the others only what has the
path in it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.credentials import Credentials

SIGNED_FOR = 20.0
"""Seconds that a signature is used again. Services take one for minutes, but credentials may expire any moment."""
MOST_SIGNED = 4096
MOMENT = 1.0
"""Seconds that share a time of signing: it is told in seconds."""
DESCRIBING = {"x-amz-checksum-mode": "ENABLED"}
"""Asks for what is known of an object's content."""
SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]*/[0-9]{8}/([^/,]+)/([^/,]+)/aws4_request,.*")
SIGNATURE = frozenset({"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A GET that the server will accept for some minutes; Range and If-Match may be added to it."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What the requests for all objects of a bucket have in common."""

    base: str
    """Scheme and host."""
    root: str
    """The path, up to the key."""
    headers: Mapping[str, str]
    region: str
    service: str

    @classmethod
    def of(cls, request: SignedRequest, key: str) -> RequestTemplate | None:
        """Return the template of a request for this key; None where it is not signed in the usual way."""
        path = quote(key, safe="/~")
        headers = {name.lower(): value for name, value in request.headers.items()}
        scope = SCOPE.fullmatch(headers.get("authorization", ""))
        if scope is None or not request.url.endswith(path):
            return None
        common = {name: value for name, value in headers.items() if name not in SIGNATURE}
        parts = urlsplit(request.url.removesuffix(path))
        return cls(f"{parts.scheme}://{parts.netloc}", parts.path, common, scope.group(1), scope.group(2))

    def context(self, method: str, key: str, credentials: Credentials) -> SigningContext:
        """Sign a request for an object, so that those for others are signed quickly."""
        headers = dict(self.headers) if method == "GET" else {**self.headers, **DESCRIBING}
        request = AWSRequest(method, self.base + self.path(key), headers)
        return SigningContext(S3SigV4Auth(credentials.get_frozen_credentials(), self.service, self.region), request)

    def sign(self, key: str, version: str | None, context: SigningContext) -> SignedRequest:
        """Return a request for another object of the bucket."""
        path, query = self.path(key), "versionId=" + quote(version, safe="-_.~") if version else ""
        url = f"{self.base}{path}?{query}" if query else self.base + path
        return SignedRequest(url, context.headers_for(path, query))

    def path(self, key: str) -> str:
        """Return the path of an object."""
        return self.root + quote(key, safe="/~")


class SigningContext:
    """A moment of signing: what is signed for one object is the same for all, but for what names it."""

    def __init__(self, auth: S3SigV4Auth, request: AWSRequest) -> None:
        auth.add_auth(request)
        self._auth = auth
        self._request = request
        self._headers = dict(request.headers.items())
        self._authorization = self._headers["Authorization"].rpartition("=")[0]
        del request.headers["Authorization"]  # as it was when botocore signed
        self._method, _, _, self._rest = auth.canonical_request(request).split("\n", 3)

    def headers_for(self, path: str, query: str) -> dict[str, str]:
        """Return the signed headers for another object."""
        canonical = f"{self._method}\n{path}\n{query}\n{self._rest}"
        signature = self._auth.signature(self._auth.string_to_sign(self._request, canonical), self._request)
        return {**self._headers, "Authorization": f"{self._authorization}={signature}"}


class Signer:
    """Signs for many threads; a signature serves all spans of some seconds, since the range is not signed."""

    def __init__(
        self, prepare: Callable[[str, str, str | None], SignedRequest], credentials: Callable[[], Credentials | None]
    ) -> None:
        """`prepare` makes a request from bucket, key and version in botocore's own way."""
        self._prepare = prepare
        self._credentials = credentials
        self._templates: dict[str, RequestTemplate | None] = {}
        self._contexts: dict[tuple[str, str], tuple[float, SigningContext]] = {}
        self._signed: dict[tuple[str, str, str | None], tuple[float, SignedRequest]] = {}

    def sign(self, bucket: str, key: str, version: str | None = None) -> SignedRequest:
        """Return a request for an object that was signed just now. No network, but for credentials that expire."""
        now = time.monotonic()
        signed_at, request = self._signed.get((bucket, key, version), (0.0, None))
        if request is None or now - signed_at > SIGNED_FOR:
            request = self._from_template("GET", bucket, key, version) or self._prepare(bucket, key, version)
            if len(self._signed) >= MOST_SIGNED:
                self._signed.clear()
            self._signed[bucket, key, version] = (now, request)
        return request

    def sign_head(self, bucket: str, key: str) -> SignedRequest | None:
        """Return a request that describes an object; None where only botocore's client can make one."""
        return self._from_template("HEAD", bucket, key, None)

    def _from_template(self, method: str, bucket: str, key: str, version: str | None) -> SignedRequest | None:
        templates, contexts = self._templates, self._contexts
        if bucket not in templates:
            # Without a version: that is not in the path.
            templates[bucket] = RequestTemplate.of(self._prepare(bucket, key, None), key)
        template = templates[bucket]
        if template is None:
            return None
        now = time.monotonic()
        signed_at, context = contexts.get((method, bucket), (0.0, None))
        if context is None or now - signed_at > MOMENT:
            credentials = self._credentials()
            if credentials is None:
                return None
            context = template.context(method, key, credentials)
            contexts[method, bucket] = (now, context)
        return template.sign(key, version, context)

    def forget(self) -> None:
        """Drop all templates: a request was rejected; perhaps it had expired, or the bucket is in another region."""
        self._signed, self._templates, self._contexts = {}, {}, {}
