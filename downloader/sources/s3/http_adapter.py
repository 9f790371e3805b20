"""Between botocore and our HTTP client: botocore prepares requests and parses answers, our connections carry them.

All three hooks are events that botocore documents for this purpose: a handler of `before-call` or `before-send` that
returns an answer takes the place of what would follow.
"""

from __future__ import annotations

import io
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse, create_request_object

from downloader.artifact import shown_url
from downloader.errors import ProtocolFailed, SourceUnavailable
from downloader.network import host_of
from downloader.sources.s3.answers import ANSWERED_BY, ANSWERED_WITH
from downloader.sources.s3.signing import SignedRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.awsrequest import AWSPreparedRequest, AWSRequest
    from botocore.signers import RequestSigner
    from types_boto3_s3.client import S3Client

    from downloader.network import HttpClient, Response

NOT_OURS = frozenset({"host", "user-agent"})
"""Headers that our HTTP client makes itself; the first is signed, and is the same."""
LISTING, END_OF_LISTING = b"<ListBucketResult", (b"</ListBucketResult>", b"/>")
ERROR = b"<Error>"
MAX_BEFORE_LISTING, MAX_AFTER_LISTING = 1 << 16, 1 << 10
"""Bytes of an answer in which a listing has begun, and in which it ends."""
MAX_ANSWER = 8 << 20
"""Bytes. Parsed they may take thirty times as much; a page of a thousand of the longest keys has four million."""
REDIRECTS = frozenset({HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.TEMPORARY_REDIRECT})
REGION = "x-amz-bucket-region"
SIGNED = "SignedRequest"
"""Where the answer to `get_object` has the request that was signed instead of sent."""


class _Content(io.BytesIO):
    """What botocore reads the body of an answer from."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


class HttpAdapter:
    """Carries the requests of botocore's clients over our HTTP client. For many threads."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def attach(self, client: S3Client) -> None:
        """Let a client send nothing by itself. Its `get_object` returns a signed request under `SIGNED`."""
        events: Any = client.meta.events  # its types have no handler that returns an answer
        events.register("before-call.s3.GetObject", _sign_only)
        events.register("before-send.s3", self._send)
        events.register("before-sign.s3", _name_resource)

    def _send(self, request: AWSPreparedRequest, event_name: str, **_: object) -> AWSResponse:
        """Send a request and return the answer in botocore's form. Raises our errors."""
        # botocore knows what a redirect means for the region and the signature.
        reply = self._http.fetch(
            request.url, method=request.method, headers=_headers(request), limit=MAX_ANSWER, follow=False
        )
        if event_name.endswith(".HeadBucket") and reply.status in REDIRECTS and REGION not in reply.headers:
            # botocore asks for the bucket's region when it is redirected, and would ask again and again.
            where = shown_url(reply.url)
            raise ProtocolFailed(f"{where} redirects without telling the bucket's region", hint="check the endpoint")
        status = reply.status
        if status == HTTPStatus.OK and ".ListObjects" in event_name:
            status = _status_of_page(reply)
        received: Any = {**reply.headers, ANSWERED_BY: host_of(reply.url), ANSWERED_WITH: str(reply.status)}
        return AWSResponse(request.url, status, received, _Content(reply.body))


def _status_of_page(reply: Response) -> int:
    """Return the status with which botocore reads a page of a listing as what it is.

    Raises SourceUnavailable for one that was cut, and ProtocolFailed for anything else than a page or an error of S3:
    botocore reads any XML, such as a web page of a proxy, as an empty listing.
    """
    where, begin, end = shown_url(reply.url), reply.body[:MAX_BEFORE_LISTING], reply.body[-MAX_AFTER_LISTING:].rstrip()
    if LISTING in begin and end.endswith(END_OF_LISTING):
        return HTTPStatus.OK
    if LISTING in begin or not end:
        # Its length was right, or none was told: a server or a gateway gave up in the middle of writing it.
        raise SourceUnavailable(f"{where} answers with a page of a listing that ends in the middle")
    if ERROR in begin:
        return HTTPStatus.BAD_REQUEST  # gateways that have begun to answer with 200 have no other way to say so
    raise ProtocolFailed(f"{where}: the server's answer is not S3", hint="check the endpoint")


def _sign_only(
    params: dict[str, Any], request_signer: RequestSigner, **_: object
) -> tuple[AWSResponse, dict[str, SignedRequest]]:
    """Sign a request for an object and hand it back instead of an answer: ranges are read by our own client."""
    request = create_request_object(params)
    request_signer.sign("GetObject", request)
    prepared = request.prepare()
    received: Any = {}
    answer = AWSResponse(prepared.url, HTTPStatus.OK, received, _Content())
    return answer, {SIGNED: SignedRequest(prepared.url, _headers(prepared))}


def _headers(request: AWSPreparedRequest) -> dict[str, str]:
    sent: dict[str, str | bytes] = dict(request.headers.items())
    return {
        name: value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in sent.items()
        if name.lower() not in NOT_OURS
    }


def _name_resource(request: AWSRequest, **_: object) -> None:
    """Let signatures of version 2 name a bucket as the address does.

    What they sign is the path of the request. botocore leaves the slash away behind a bucket in the address, but signs
    it, and servers that go by the address (Ceph's) refuse that.
    """
    path = urlsplit(str(request.url)).path
    if request.auth_path == f"{path}/":
        request.auth_path = path
