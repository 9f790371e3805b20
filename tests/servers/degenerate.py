"""The poorest S3 service that the operator's own suite uses: it lists, and sends whole objects, and nothing else.

Its ETags are 32 zeros, which are no digest of anything. It says `Accept-Ranges: bytes` and ignores Range, as it ignores
If-Match; what it does not have gets a bare 404, without any error document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from tests.servers.closable import Closable
from tests.servers.faults import FOREVER, IgnoreRange
from tests.servers.messages import Log, Reply, Request
from tests.servers.origin import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "degenerate"
TAG = f'"{"0" * 32}"'
KEYS = {"AWS_ACCESS_KEY_ID": "any-key", "AWS_SECRET_ACCESS_KEY": "any-secret", "AWS_REGION": "us-east-1"}


@dataclass
class Degenerate(Closable):
    """A running service with one bucket, called `degenerate`."""

    objects: Mapping[str, bytes]
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        self.server = Server(self._answer, log=self.log)
        self.server.faults.add(IgnoreRange(), route="object", times=FOREVER)  # and conditions with it

    @property
    def environment(self) -> dict[str, str]:
        """What a Job would have to be told to use it."""
        return {"AWS_ENDPOINT_URL": self.server.origin, **KEYS}

    def close(self) -> None:
        self.server.close()

    def _answer(self, request: Request) -> Reply:
        bucket, _, key = request.path.removeprefix("/").partition("/")
        if bucket == NAME and not key:
            return self._list(request.query.get("prefix", ""))
        if bucket != NAME or key not in self.objects:
            return Reply("nothing", 404)
        return Reply("object", 200, {"ETag": TAG, "Accept-Ranges": "bytes"}, self.objects[key])

    def _list(self, prefix: str) -> Reply:
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><ETag>{escape(TAG)}</ETag><Size>{len(content)}</Size></Contents>"
            for key, content in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return Reply(
            "listing",
            200,
            {},
            f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode(),
        )
