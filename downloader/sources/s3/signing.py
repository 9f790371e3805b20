"""Signed requests for objects: botocore prepares the first one of a bucket, the others are made from its template.

botocore takes a quarter of a millisecond for each: it resolves the endpoint again for each key. Two objects of a bucket
differ in the path alone, so `S3SigV4Auth` signs one request a second in full, and for the others only the string that
contains the path (ADR 25).
"""

from __future__ import annotations

import hashlib
import hmac
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
"""Seconds for which a signature is used again. Services accept one for 15 minutes, but credentials may expire."""
MAX_SIGNED = 4096
MOMENT = 1.0
"""Seconds for which a signing context is used: the time of signing is written in whole seconds."""
DESCRIBING = {"x-amz-checksum-mode": "ENABLED"}
"""Asks for the checksums of an object."""
SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]*/[0-9]{8}/([^/,]+)/([^/,]+)/aws4_request,.*")
SIGNATURE = frozenset({"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that the server accepts for some minutes; Range and If-Match may be added, as they are not signed."""

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
        """Return the template of a request for this key; None unless it has a header signature of version 4."""
        path = quote(key, safe="/~")
        headers = {name.lower(): value for name, value in request.headers.items()}
        scope = SCOPE.fullmatch(headers.get("authorization", ""))
        if scope is None or not request.url.endswith(path):
            return None
        common = {name: value for name, value in headers.items() if name not in SIGNATURE}
        parts = urlsplit(request.url.removesuffix(path))
        return cls(f"{parts.scheme}://{parts.netloc}", parts.path, common, scope.group(1), scope.group(2))

    def context(self, method: str, key: str, credentials: Credentials) -> SigningContext:
        """Sign a request for an object in full, and return what the requests of the same second share."""
        headers = dict(self.headers) if method == "GET" else {**self.headers, **DESCRIBING}
        request = AWSRequest(method, self.base + self.path(key), headers)
        return SigningContext(S3SigV4Auth(credentials.get_frozen_credentials(), self.service, self.region), request)

    def sign(self, key: str, version: str | None, context: SigningContext) -> SignedRequest:
        """Return a request for another object of the bucket, signed in the context."""
        path, query = self.path(key), "versionId=" + quote(version, safe="-_.~") if version else ""
        url = f"{self.base}{path}?{query}" if query else self.base + path
        return SignedRequest(url, context.headers_for(path, query))

    def path(self, key: str) -> str:
        """Return the path of an object."""
        return self.root + quote(key, safe="/~")


class SigningContext:
    """What the signatures of one second, method and bucket share: all but path and query."""

    def __init__(self, auth: S3SigV4Auth, request: AWSRequest) -> None:
        auth.add_auth(request)
        self._headers = dict(request.headers.items())
        self._authorization, _, signature = self._headers["Authorization"].rpartition("=")
        del request.headers["Authorization"]  # as it was when botocore signed
        canonical = auth.canonical_request(request)
        self._method, path, query, self._rest = canonical.split("\n", 3)
        self._to_sign = auth.string_to_sign(request, canonical).rpartition("\n")[0]
        """Algorithm, time and scope: the lines before the hash of the canonical request."""
        self._key = _key(auth, self._to_sign.rpartition("\n")[2])
        self.agrees = self._signature(path, query) == signature
        """Botocore signs in the same way as this does."""

    def headers_for(self, path: str, query: str) -> dict[str, str]:
        """Return the signed headers for another object."""
        return {**self._headers, "Authorization": f"{self._authorization}={self._signature(path, query)}"}

    def _signature(self, path: str, query: str) -> str:
        canonical = f"{self._method}\n{path}\n{query}\n{self._rest}"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        return hmac.digest(self._key, f"{self._to_sign}\n{hashed}".encode(), "sha256").hex()


def _key(auth: S3SigV4Auth, scope: str) -> bytes:
    """Return the key for a scope (`date/region/service/aws4_request`), which botocore makes again for each request."""
    key = f"AWS4{auth.credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class Signer:
    """Signs for many threads. One signature serves all ranges of an object for `SIGNED_FOR` seconds."""

    def __init__(
        self, prepare: Callable[[str, str, str | None], SignedRequest], credentials: Callable[[], Credentials | None]
    ) -> None:
        """Let `prepare` make a request from bucket, key and version by botocore, where no template can be used."""
        self._prepare = prepare
        self._credentials = credentials
        self._templates: dict[str, RequestTemplate | None] = {}
        self._contexts: dict[tuple[str, str], tuple[float, SigningContext]] = {}
        self._signed: dict[tuple[str, str, str | None], tuple[float, SignedRequest]] = {}

    def sign(self, bucket: str, key: str, version: str | None = None) -> SignedRequest:
        """Return a GET of an object. Only a renewal of expiring credentials needs the network."""
        now = time.monotonic()
        signed_at, request = self._signed.get((bucket, key, version), (0.0, None))
        if request is None or now - signed_at > SIGNED_FOR:
            request = self._from_template("GET", bucket, key, version) or self._prepare(bucket, key, version)
            if len(self._signed) >= MAX_SIGNED:
                self._signed.clear()
            self._signed[bucket, key, version] = (now, request)
        return request

    def sign_head(self, bucket: str, key: str) -> SignedRequest | None:
        """Return a HEAD of an object with its checksums; None if only botocore can make one."""
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
            if not context.agrees:
                templates[bucket] = None
                return None
            contexts[method, bucket] = (now, context)
        return template.sign(key, version, context)

    def forget(self) -> None:
        """Forget signatures and templates: a request was rejected, perhaps since it expired or has the wrong region."""
        self._signed, self._templates, self._contexts = {}, {}, {}
