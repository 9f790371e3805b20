"""An HTTP/1.1 client for large downloads and many small requests, on the standard library's sockets.

`HttpClient` is the interface: one for a run, shared by all threads. It does three things:

- `fetch` returns a small response, read whole (`Response`); `heads` asks for many heads at once.
- `open` streams a byte range of a file (`RangeRequest`) into the caller's buffers, without a copy in between;
  `prefetch` pipelines the requests of the ranges that the calling thread opens next.
- `library_client` returns an `httpx2.Client` for other people's code, with our connections, limits and errors.

It is built from `Trust` (CA certificates), `Proxies`, `Timeouts` (seconds), and optionally a `NetworkObserver`
(callbacks for progress) and `ContentRules` (what a file's name says about its content).

Guarantees:

- The bytes of a range are those of the version and the range that were asked for, or an error is raised. Nothing that
  a server says about its response is believed without a check: status, length, range, validator, encoding.
- Redirects are followed ten times at most, never from https to http, never to a link-local or metadata address.
  Private headers reach the URL's own origin only. No cookie is kept.
- Every read and connect has a time limit, and every response that is read whole has a size limit.
- `interrupt` and `abort` wake threads that are blocked in a read, from any other thread.
- A request is repeated only if the server had closed the idle connection, if the connection broke while requests were
  pipelined on it, or if a remembered redirect has expired. Retries are the caller's.

Errors are those of `downloader.errors`: `ConfigurationError` (the request or the proxy cannot be used), `UnknownHost`,
`UntrustedServer` (TLS), `SourceUnavailable` and its children `ConnectionBroken`, `SourceSilent` and `Throttled` (try
again), `SourceChanged` and `Unpinned` (another version), `RangeIgnored`, `ProtocolFailed` (the response makes no
sense), and `HttpStatusError` for statuses that only the caller can interpret. The one error of httpx2 that callers see
is `httpx2.InvalidURL`, from `address`.

Why not httpx2, requests or urllib3 alone: httpx2's parser costs two to four times the CPU of a plain read, and its
objects for one small file cost more than the file; urllib3 cannot pipeline (ADR 1, 2, 20, 31, 32). httpx2 still names
the errors of the transport, and parses unusual URLs.

Imported of ours: `errors`, `error_map` and `formatting`, since the errors end up in front of users, and of `artifact`
the byte range `Span`, the `Validator` of a file's version, the `MAX_SIZE` of files, and `shown_url`, which removes
secrets from a URL. Nothing else: `.importlinter` proves it. `Deadlines` and settings come in as `Timeouts` and
`ProxySettings`.
"""

from downloader.network.client import HttpClient, Response
from downloader.network.content_encoding import can_decode, decoded, is_compressed, is_encoded
from downloader.network.errors import HttpStatusError, host_of
from downloader.network.h1 import is_number
from downloader.network.interfaces import ContentRules, FormatEnd, NetworkObserver, ProxySettings
from downloader.network.pool import Timeouts
from downloader.network.probe import Certificate, ServerProbe
from downloader.network.proxies import Proxies
from downloader.network.ranges import RangeRequest, Unpinned, content_length, total_length
from downloader.network.server_message import json_error
from downloader.network.tls import Trust, merged
from downloader.network.tls_errors import map_tls_error
from downloader.network.url import Origin, address

__all__ = [
    "Certificate",
    "ContentRules",
    "FormatEnd",
    "HttpClient",
    "HttpStatusError",
    "NetworkObserver",
    "Origin",
    "Proxies",
    "ProxySettings",
    "RangeRequest",
    "Response",
    "ServerProbe",
    "Timeouts",
    "Trust",
    "Unpinned",
    "address",
    "can_decode",
    "content_length",
    "decoded",
    "host_of",
    "is_compressed",
    "is_encoded",
    "is_number",
    "json_error",
    "map_tls_error",
    "merged",
    "total_length",
]
