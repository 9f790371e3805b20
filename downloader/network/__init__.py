"""The one HTTP data plane: a lean reader over the standard library's sockets.

httpx2's own parser costs two to four times the CPU of a plain read, and its objects for one small file more than the
file. So it names errors, parses what is unusual, and is the face for other people's code.
"""

from downloader.network.client import HttpClient, Response
from downloader.network.content_encoding import can_decode, is_encoded, is_packed
from downloader.network.errors import HttpStatusError, host_of
from downloader.network.messages import unpacked
from downloader.network.pool import Timeouts
from downloader.network.proxies import Proxies
from downloader.network.ranges import RangeRequest, Unpinned, content_length, total_length
from downloader.network.server_message import json_error
from downloader.network.tls import Trust, merged
from downloader.network.tls_errors import untrusted
from downloader.network.url import address

__all__ = [
    "HttpClient",
    "HttpStatusError",
    "Proxies",
    "RangeRequest",
    "Response",
    "Timeouts",
    "Trust",
    "Unpinned",
    "address",
    "can_decode",
    "content_length",
    "host_of",
    "is_encoded",
    "is_packed",
    "json_error",
    "merged",
    "total_length",
    "unpacked",
    "untrusted",
]
