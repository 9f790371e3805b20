"""One S3 service per run: what is asked of its API, and who asks.

botocore knows regions, addressing styles, access points and every kind of credentials, so it prepares each request.
None of its own connections is used for S3: proxies, trust, timeouts and errors are those of the `HttpClient`. Only the
providers of credentials (web identity, pod identity, instance role) talk for themselves, and read the process's
environment and AWS's files, as they do in every other tool.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from downloader.errors import ConfigurationError, ProtocolFailed, SourceUnavailable
from downloader.formatting import reason
from downloader.network import merged
from downloader.sources.s3.address import uri_of
from downloader.sources.s3.answers import ErrorResponse, Identity
from downloader.sources.s3.credentials import authenticate, origin_of
from downloader.sources.s3.errors import CredentialsExpired, map_exceptions
from downloader.sources.s3.http_adapter import SIGNED, HttpAdapter
from downloader.sources.s3.page import Page
from downloader.sources.s3.session import new_client, new_session
from downloader.sources.s3.signing import SignedRequest, Signer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from botocore.session import Session
    from types_boto3_s3.client import S3Client

    from downloader.config.s3 import S3Settings
    from downloader.errors import DownloadError
    from downloader.network import HttpClient, Response

MAX_TO_EXPLAIN = 1 << 16
GOOD_FOR = 3600
"""Seconds within which a presigned address has to be used; what is being read then comes to its end."""

RENEWAL_HOLDS = 10.0
"""Seconds after a renewal within which an expired token is the old one, of a request that was on its way."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an object that was uploaded in `count` parts."""

    size: int
    count: int


class S3ApiClient:
    """An S3 service and who asks it. For many threads; the client is made when it is first needed."""

    def __init__(self, settings: S3Settings, http: HttpClient, bundles: Sequence[Path] = ()) -> None:
        """`bundles` are PEM files with CAs to trust besides the usual ones and those of the settings."""
        self._settings = settings
        self._http = http
        self._adapter = HttpAdapter(http)
        self._bundles = (*bundles, *settings.trusted)
        self._lock = threading.Lock()
        self._made: S3Client | None = None
        self._session: Session | None = None
        self._signer = Signer(self._prepare, lambda: self._session.get_credentials() if self._session else None)
        self._described: set[str] = set()
        """Buckets of which the client has described an object: requests for others can be made from its template."""
        self.asker = Identity()
        """On whose behalf requests are made; known once the client is."""
        self._worked = True
        """Something was answered since credentials were last renewed."""
        self._renewed = -RENEWAL_HOLDS
        """When that was."""

    def identity(self) -> str:
        """Return a phrase for people: whose credentials are used. Raises AccessDenied without any."""
        self._client()
        found = origin_of(self.asker)
        return f"without credentials, {found}" if self.asker.unsigned else found

    def page(self, bucket: str, prefix: str, place: Mapping[str, str], *, newer: bool) -> Page:
        """Return one page of a listing: up to a thousand objects whose keys begin with `prefix`.

        `newer` uses ListObjectsV2, otherwise ListObjects. `place` is the parameter that says where the page begins,
        empty for the first page. Raises botocore's errors; ProtocolFailed for a size that is not a number, and for a
        page that contains folders in place of their objects.
        """
        client = self._client()
        options: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, **place, **self._payer()}
        with _numbers_read(uri_of(bucket, prefix)):
            found: Any = client.list_objects_v2(**options) if newer else client.list_objects(**options)
        if found.get("CommonPrefixes"):
            raise ProtocolFailed(
                f"the S3 server lists folders of {uri_of(bucket, prefix)} instead of what is in them",
                hint="no delimiter was asked for: check the endpoint, and proxies before it",
            )
        parameter, field = ("ContinuationToken", "NextContinuationToken") if newer else ("Marker", "NextMarker")
        following = {parameter: found[field]} if found.get(field) else {}
        objects = found.get("Contents", [])
        # A page that says how many objects it has, and has fewer, is not all there is.
        short = bool(objects) and found.get("KeyCount", 0) > len(objects)
        return Page(objects, True if short else found.get("IsTruncated"), following)

    def head(self, bucket: str, key: str) -> Mapping[str, str]:
        """Return the headers of a HEAD, with checksums. Raises ClientError for an error response."""
        client = self._client()
        if bucket in self._described:
            # botocore takes a millisecond for each HEAD, longer than many servers: after the first one we sign
            # ourselves.
            request = self._signer.sign_head(bucket, key)
            if request is not None:
                reply = self._http.fetch(request.url, method="HEAD", headers=request.headers, limit=0, follow=False)
                if reply.status == HTTPStatus.OK:
                    return reply.headers
        found = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", **self._payer())
        self._described.add(bucket)
        headers: Mapping[str, str] = found["ResponseMetadata"]["HTTPHeaders"]
        return headers

    def fetch(self, bucket: str, key: str, limit: int) -> Response:
        """Return the response to a GET of an object of at most `limit` bytes, whatever its status below 500."""
        request = self.sign(bucket, key)
        return self._http.fetch(request.url, headers=request.headers, limit=limit)

    def first_byte(self, bucket: str, key: str) -> Response:
        """Return the response to a GET of an object's first byte, whatever its status below 500."""
        request = self.sign(bucket, key)
        return self._http.fetch(
            request.url,
            headers=request.headers,
            public_headers={"range": "bytes=0-0"},
            limit=MAX_TO_EXPLAIN,
            truncate=True,
        )

    def part(self, bucket: str, key: str, number: int, version: str | None) -> Part | None:
        """Return one part, from 1 on, of an object that was uploaded in parts; None if the server does not tell."""
        # Without If-Match: some servers compare it with an ETag of the part.
        options: dict[str, Any] = {"VersionId": version} if version else {}
        try:
            head = self._client().head_object(Bucket=bucket, Key=key, PartNumber=number, **options, **self._payer())
        except ClientError as error:
            log.debug("%s has no parts: %s", uri_of(bucket, key), ErrorResponse.of(error).code)
            return None
        return Part(head["ContentLength"], head["PartsCount"]) if "PartsCount" in head else None

    def listed_parts(self, bucket: str, key: str, version: str | None) -> list[int]:
        """Return the sizes of all parts in bytes; an empty list from servers other than AWS, which list none."""
        if not self._settings.is_aws:
            return []
        options: dict[str, Any] = {"VersionId": version} if version else {}
        try:
            found = self._client().get_object_attributes(
                Bucket=bucket, Key=key, ObjectAttributes=["ObjectParts"], MaxParts=1000, **options, **self._payer()
            )
        except ClientError as error:
            log.debug("no list of the parts of %s: %s", uri_of(bucket, key), ErrorResponse.of(error).code)
            return []
        return [part["Size"] for part in found.get("ObjectParts", {}).get("Parts", [])]

    def sign(self, bucket: str, key: str, version: str | None = None) -> SignedRequest:
        """Return a GET of an object, signed at most `SIGNED_FOR` seconds ago."""
        return self._signer.sign(bucket, key, version)

    def forget(self) -> None:
        """Sign all requests again from now on: an old signature was rejected."""
        self._signer.forget()

    def _prepare(self, bucket: str, key: str, version: str | None) -> SignedRequest:
        options: dict[str, Any] = {"VersionId": version} if version else {}
        answer: Any = self._client().get_object(Bucket=bucket, Key=key, **options, **self._payer())
        request: SignedRequest = answer[SIGNED]
        return request

    def presign(self, bucket: str, key: str, version: str | None = None) -> SignedRequest:
        """Return a GET whose URL carries the signature, which is good for `GOOD_FOR` seconds."""
        options: dict[str, Any] = {"VersionId": version} if version else {}
        params = {"Bucket": bucket, "Key": key, **options, **self._payer()}
        return SignedRequest(self._client().generate_presigned_url("get_object", params, GOOD_FOR), {})

    def _payer(self) -> dict[str, Any]:
        return {"RequestPayer": "requester"} if self._settings.requester_pays else {}

    def _client(self) -> S3Client:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> S3Client:
        session = self._session = new_session(self._settings)
        self.asker = authenticate(session, self._settings, self._trust_file)
        client = new_client(session, self._settings, self.asker)
        self._adapter.attach(client)
        return client

    @contextlib.contextmanager
    def map_exceptions(self, what: str) -> Iterator[None]:
        """Raise our errors for botocore's in the block; `what` names the object or the bucket."""
        try:
            with map_exceptions(what, lambda: self.asker):
                yield
        except CredentialsExpired as error:
            raise self.after_expiry(error) from error

    def after_expiry(self, error: CredentialsExpired) -> DownloadError:
        """Return a passing error if the provider of the credentials had new ones, otherwise `error` itself."""
        return SourceUnavailable(f"{error.message}, and were renewed") if self.renew() else error

    def renew(self) -> bool:
        """Get new credentials from their provider, since the old ones have expired; False if it has no others."""
        with self._lock:
            if self.asker.unsigned or self._session is None or self._settings.has_keys:
                return False
            if time.monotonic() - self._renewed < RENEWAL_HOLDS:
                return True  # the rejected request had been signed before the renewal
            if not self._worked:
                return False
            old = self._session.get_credentials()
            self._made = self._make()
            new = self._session.get_credentials()
            if old is None or new is None or old.get_frozen_credentials() == new.get_frozen_credentials():
                return False
            self._renewed, self._worked = time.monotonic(), False
            self.forget()
            log.info("the session token has expired; %s gave a new one", self.asker.provider)
            return True

    def succeed(self) -> None:
        """Record that the server has accepted the credentials."""
        self._worked = True

    def _trust_file(self) -> str:
        """Return a PEM file of all trusted CAs, for providers of credentials, which have HTTP clients of their own."""
        try:
            with tempfile.NamedTemporaryFile(prefix="trust-", suffix=".pem", delete=False) as file:
                weakref.finalize(self, Path(file.name).unlink, missing_ok=True)
                file.write(merged(self._bundles))
        except OSError as error:
            raise ConfigurationError(f"no scratch file can be written: {reason(error)}", hint="set TMPDIR") from error
        return file.name


@contextlib.contextmanager
def _numbers_read(what: str) -> Iterator[None]:
    """Raise ProtocolFailed if botocore finds a text where a response must have a number."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, (BotoCoreError, UnicodeError)):  # the request is wrong, not the response
            raise
        raise ProtocolFailed(
            f"the S3 server's listing of {what} has something else where a number belongs", hint="check the endpoint"
        ) from error
