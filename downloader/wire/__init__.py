"""The one HTTP data plane: httpx2 is the face, a lean reader over the standard library's sockets moves the bodies.

httpx2's own parser costs two to four times the CPU of a plain read, which matters for bodies and for nothing else.
"""

from downloader.wire.ranges import RangeRequest, content_length, total_length
from downloader.wire.refusal import Refusal
from downloader.wire.web import Reply, Web

__all__ = ["RangeRequest", "Refusal", "Reply", "Web", "content_length", "total_length"]
