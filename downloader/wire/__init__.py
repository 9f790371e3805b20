"""The one HTTP data plane: a lean reader over the standard library's sockets.

httpx2's own parser costs two to four times the CPU of a plain read, and its objects for one small file more than the
file. So it names errors, parses what is unusual, and is the face for other people's code.
"""

from downloader.wire.ranges import RangeRequest, Unpinned, content_length, total_length
from downloader.wire.refusal import Refusal
from downloader.wire.web import Reply, Web

__all__ = ["RangeRequest", "Refusal", "Reply", "Unpinned", "Web", "content_length", "total_length"]
