"""One S3 client per run: settings → a botocore client that signs, while our own HTTP plane carries the requests.

botocore knows regions, addressing styles, access points and every kind of credentials, so it prepares each request.
None of its own connections is used for S3: proxies, trust, timeouts and errors are those of the `HttpClient`. Only the
providers of credentials (web identity, pod identity, instance role) talk for themselves, and read the process's
environment and AWS's files, as they do in every other tool.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from downloader.artifact import shown_url
from downloader.errors import ConfigurationError, ProtocolFailed, SourceUnavailable
from downloader.formatting import reason
from downloader.network import merged
from downloader.sources.s3.answers import ANSWERED_BY, ErrorResponse, Identity, host_of
from downloader.sources.s3.credentials import authenticate, origin_of
from downloader.sources.s3.errors import CredentialsExpired, map_exceptions
from downloader.sources.s3.list_parser import EVENTS, read_contents, read_truncation
from downloader.sources.s3.page import Page
from downloader.sources.s3.signing import SignedRequest, Signer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from botocore.awsrequest import AWSPreparedRequest, AWSRequest
    from types_boto3_s3.client import S3Client

    from downloader.config.s3 import S3Settings
    from downloader.errors import DownloadError
    from downloader.network import HttpClient, Response

DEFAULT_REGION = "us-east-1"
NOT_OURS = frozenset({"host", "user-agent"})
"""Headers that the wire makes itself; the first is signed, and is the same."""

LISTING = b"<ListBucketResult"
MOST_TO_EXPLAIN = 1 << 16
MAX_ANSWER = 8 << 20
"""Bytes. Parsed they may take thirty times as much; a page of a thousand of the longest keys has four million."""
REDIRECTS = frozenset({HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.TEMPORARY_REDIRECT})
REGION = "x-amz-bucket-region"
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


class _Prepared(Exception):
    """No error: it brings a prepared request out of botocore."""

    def __init__(self, request: SignedRequest) -> None:
        super().__init__()
        self.request = request


class _Content(io.BytesIO):
    """What botocore reads the body of an answer from."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


class S3ApiClient:
    """An S3 service and who asks it. For many threads; the client is made when it is first needed."""

    def __init__(self, settings: S3Settings, web: HttpClient, bundles: Sequence[Path] = ()) -> None:
        """`bundles` are PEM files with CAs to trust besides the usual ones and those of the settings."""
        self._settings = settings
        self._web = web
        self._bundles = (*bundles, *settings.trusted)
        self._lock = threading.Lock()
        self._made: S3Client | None = None
        self._session: Session | None = None
        self._signer = Signer(self._prepare, lambda: self._session.get_credentials() if self._session else None)
        self._described: set[str] = set()
        """Buckets of which the client has described an object: others can be asked for after its pattern."""
        self.asker = Identity()
        """On whose behalf requests are made; known once the client is."""
        self._worked = True
        """Something was answered since credentials were last renewed."""
        self._renewed = -RENEWAL_HOLDS
        """When that was."""

    def page(self, bucket: str, prefix: str, place: Mapping[str, str], *, newer: bool) -> Page:
        """List objects whose keys begin with `prefix`, up to a thousand, by the newer or the older form of listings.

        `place` is the parameter that says where the page begins; empty for the first one. Raises ProtocolFailed for a
        page with numbers that are none, and for one that leaves out objects which it only names the folders of.
        """
        client = self._client()
        options: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, **place, **self._payer()}
        with _numbers_read(f"s3://{bucket}/{prefix}"):
            found: Any = client.list_objects_v2(**options) if newer else client.list_objects(**options)
        if found.get("CommonPrefixes"):
            raise ProtocolFailed(
                f"the S3 server lists folders of s3://{bucket}/{prefix} instead of what is in them",
                hint="no delimiter was asked for: check the endpoint, and proxies before it",
            )
        parameter, field = ("ContinuationToken", "NextContinuationToken") if newer else ("Marker", "NextMarker")
        following = {parameter: found[field]} if found.get(field) else {}
        objects = found.get("Contents", [])
        # A page that says how many objects it has, and has fewer, is not all there is.
        short = bool(objects) and found.get("KeyCount", 0) > len(objects)
        return Page(objects, True if short else found.get("IsTruncated"), following)

    def head(self, bucket: str, key: str) -> Mapping[str, str]:
        """Return the headers of a HEAD that asks for checksums, too. Raises ClientError if it is refused."""
        client = self._client()
        if bucket in self._described:
            # As the client asked before, which takes longer than the answer.
            request = self._signer.sign_head(bucket, key)
            if request is not None:
                reply = self._web.fetch(request.url, method="HEAD", headers=request.headers, limit=0, follow=False)
                if reply.status == HTTPStatus.OK:
                    return reply.headers
        found = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", **self._payer())
        self._described.add(bucket)
        headers: Mapping[str, str] = found["ResponseMetadata"]["HTTPHeaders"]
        return headers

    def fetch(self, bucket: str, key: str, limit: int) -> Response:
        """Return the answer to a GET of a small object, whatever its status below 500."""
        request = self.sign(bucket, key)
        return self._web.fetch(request.url, headers=request.headers, limit=limit)

    def first_byte(self, bucket: str, key: str) -> Response:
        """Return the answer to a GET of an object's first byte, whatever its status below 500."""
        request = self.sign(bucket, key)
        return self._web.fetch(
            request.url,
            headers=request.headers,
            public_headers={"range": "bytes=0-0"},
            limit=MOST_TO_EXPLAIN,
            cut=True,
        )

    def part(self, bucket: str, key: str, number: int, version: str | None) -> Part | None:
        """Ask for one part of an object that was uploaded in parts; None where the server does not tell.

        Not pinned by the object's ETag: some servers take the part's own for it.
        """
        options: dict[str, Any] = {"VersionId": version} if version else {}
        try:
            head = self._client().head_object(Bucket=bucket, Key=key, PartNumber=number, **options, **self._payer())
        except ClientError as error:
            log.debug("no parts of s3://%s/%s: %s", bucket, key, ErrorResponse.of(error).code)
            return None
        return Part(head["ContentLength"], head["PartsCount"]) if "PartsCount" in head else None

    def listed_parts(self, bucket: str, key: str, version: str | None) -> list[int]:
        """Return the sizes of all parts where AWS lists them; nothing elsewhere, where this call is not understood."""
        if not self._settings.is_aws:
            return []
        options: dict[str, Any] = {"VersionId": version} if version else {}
        try:
            found = self._client().get_object_attributes(
                Bucket=bucket, Key=key, ObjectAttributes=["ObjectParts"], MaxParts=1000, **options, **self._payer()
            )
        except ClientError as error:
            log.debug("no list of the parts of s3://%s/%s: %s", bucket, key, ErrorResponse.of(error).code)
            return []
        return [part["Size"] for part in found.get("ObjectParts", {}).get("Parts", [])]

    def sign(self, bucket: str, key: str, version: str | None = None) -> SignedRequest:
        """Return a request for an object that was signed just now."""
        return self._signer.sign(bucket, key, version)

    def forget(self) -> None:
        """Sign everything anew."""
        self._signer.forget()

    def _prepare(self, bucket: str, key: str, version: str | None) -> SignedRequest:
        options: dict[str, Any] = {"VersionId": version} if version else {}
        try:
            self._client().get_object(Bucket=bucket, Key=key, **options, **self._payer())
        except _Prepared as prepared:
            return prepared.request
        raise AssertionError("unreachable: botocore sends nothing by itself")

    def presign(self, bucket: str, key: str, version: str | None = None) -> SignedRequest:
        """Return the same as an address that is its own permission, good for an hour."""
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
        settings = self._settings
        session = self._session = Session(profile=settings.profile or None)
        # Nobody reads the times of a listing, and parsing them takes longer than all the rest of it.
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
        region = self._configure(session)
        asker = self.asker = authenticate(session, settings, self._trust_file)
        client: Any = session.create_client(
            "s3",
            region_name=region,
            endpoint_url=settings.url,
            config=Config(
                signature_version=UNSIGNED if asker.unsigned else settings.signature,
                s3={"addressing_style": settings.style.value, "use_accelerate_endpoint": settings.accelerate},
                use_dualstack_endpoint=settings.dualstack,
                use_fips_endpoint=settings.fips,
                # The retry policy is one for all sources and stands around this one.
                retries={"mode": "standard", "total_max_attempts": 1},
                response_checksum_validation="when_required",
                request_checksum_calculation="when_required",
            ),
        )
        client.meta.events.register("before-send.s3", self._send)
        client.meta.events.register("before-sign.s3", _name_resource)
        for event in EVENTS:
            client.meta.events.register(event, read_contents)
            client.meta.events.register(event, read_truncation)
        for warning in settings.warnings:
            log.warning("%s", warning)
        log.info(
            "S3 at %s, region %s, %s style, %s", client.meta.endpoint_url, region, settings.style, origin_of(asker)
        )
        return cast("S3Client", client)

    def _configure(self, session: Session) -> str:
        """Tell the session what it would else look up in the environment in another way; return the region."""
        settings = self._settings
        if settings.url is not None and not settings.sts_endpoint:
            # AWS_ENDPOINT_URL means S3. Without this the token service would be looked for there as well.
            session.set_config_variable("ignore_configured_endpoint_urls", value=True)
        region = settings.region
        if not region:
            region = DEFAULT_REGION if settings.url else session.get_config_variable("region") or DEFAULT_REGION
        session.set_config_variable("region", region)
        return region

    @contextlib.contextmanager
    def map_exceptions(self, what: str) -> Iterator[None]:
        """Turn what botocore raises in the block into our errors; `what` names what is asked for."""
        try:
            with map_exceptions(what, lambda: self.asker):
                yield
        except CredentialsExpired as error:
            raise self.after_expiry(error) from error

    def after_expiry(self, error: CredentialsExpired) -> DownloadError:
        """Return passing trouble if the provider of the credentials had new ones, else the error itself."""
        return SourceUnavailable(f"{error.message}, and were renewed") if self.renew() else error

    def renew(self) -> bool:
        """Ask the provider of credentials again, since the server calls them expired; False if it has no others."""
        with self._lock:
            if self.asker.unsigned or self._session is None or self._settings.has_keys:
                return False
            if time.monotonic() - self._renewed < RENEWAL_HOLDS:
                return True  # what is refused was signed before
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
        """Remember that the credentials are good."""
        self._worked = True

    def _trust_file(self) -> str:
        """Return a file with all whom we trust, for providers of credentials, which talk for themselves."""
        try:
            with tempfile.NamedTemporaryFile(prefix="trust-", suffix=".pem", delete=False) as file:
                weakref.finalize(self, Path(file.name).unlink, missing_ok=True)
                file.write(merged(self._bundles))
        except OSError as error:
            raise ConfigurationError(f"no scratch file can be written: {reason(error)}", hint="set TMPDIR") from error
        return file.name

    def _send(self, request: AWSPreparedRequest, event_name: str, **_: object) -> AWSResponse:
        """Carry a prepared request over our wire; those for an object's bytes are taken out instead."""
        sent: dict[str, str | bytes] = dict(request.headers.items())
        headers = {
            name: value.decode("latin-1") if isinstance(value, bytes) else value
            for name, value in sent.items()
            if name.lower() not in NOT_OURS
        }
        if event_name.endswith(".GetObject"):
            raise _Prepared(SignedRequest(request.url, headers))
        # botocore knows what a redirect means for the region and the signature.
        reply = self._web.fetch(request.url, method=request.method, headers=headers, limit=MAX_ANSWER, follow=False)
        if event_name.endswith(".HeadBucket") and reply.status in REDIRECTS and REGION not in reply.headers:
            # botocore asks for the bucket's region when it is redirected, and would ask again and again.
            where = shown_url(reply.url)
            raise ProtocolFailed(f"{where} redirects without telling the bucket's region", hint="check the endpoint")
        if (
            reply.status == HTTPStatus.OK
            and ".ListObjects" in event_name
            and LISTING not in reply.body[:MOST_TO_EXPLAIN]
        ):
            raise ProtocolFailed(f"{shown_url(reply.url)}: the server's answer is not S3", hint="check the endpoint")
        received: Any = {**reply.headers, ANSWERED_BY: host_of(reply.url)}
        return AWSResponse(request.url, reply.status, received, _Content(reply.body))


def _name_resource(request: AWSRequest, **_: object) -> None:
    """Let signatures of version 2 name a bucket as the address does.

    What they sign is the path of the request. botocore leaves the slash away behind a bucket in the address, but signs
    it, and servers that go by the address (Ceph's) refuse that.
    """
    path = urlsplit(str(request.url)).path
    if request.auth_path == f"{path}/":
        request.auth_path = path


@contextlib.contextmanager
def _numbers_read(what: str) -> Iterator[None]:
    """Raise ProtocolFailed where botocore finds something else in an answer's place for a number."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, (BotoCoreError, UnicodeError)):  # what was asked is wrong, not what was answered
            raise
        raise ProtocolFailed(
            f"the S3 server's listing of {what} has something else where a number belongs", hint="check the endpoint"
        ) from error
