"""The Xet services: the CAS that tells how a file is put together, and the transfer host that has the bytes."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tests.servers.messages import Reply
from tests.servers.origin import Server
from tests.servers.process import LOOPBACK
from tests.servers.signatures import Signer

if TYPE_CHECKING:
    import ssl

    from tests.servers.faults import Faults
    from tests.servers.messages import Log, Request
    from tests.servers.xet import Term, XetStore


class XetServices:
    """CAS and transfer host, each on an origin of its own. Routes: `cas`, `telemetry`; `xorb`."""

    def __init__(
        self, store: XetStore, faults: Faults, log: Log, tls: ssl.SSLContext | None = None, host: str = LOOPBACK
    ) -> None:
        self.store = store
        self.tokens = Signer(lifetime=3600)
        """Signs access tokens."""
        self.urls = Signer(lifetime=3600)
        """Signs the xorbs' URLs."""
        self.newest_version = 2
        """1 turns off the newer way to ask for reconstructions."""
        self.server = Server(self._answer, faults, log, tls=tls, host=host)
        self.transfer_host = Server(self._transfer, faults, log, tls=tls, host=host)

    def access(self) -> dict[str, str | int]:
        """Return what the Hub tells a client that may read: where the CAS is, a token, and until when it is good."""
        signed = self.tokens.sign("read")
        token = f"{signed['Expires']}.{signed['Signature']}"
        return {"casUrl": self.server.origin, "accessToken": token, "exp": int(signed["Expires"])}

    def _admits(self, request: Request) -> bool:
        expires, _, signature = (request.bearer or "").partition(".")
        return self.tokens.accepts("read", {"Expires": expires or "0", "Signature": signature})

    def _answer(self, request: Request) -> Reply:
        if request.parts[-1:] == ("telemetry",):
            return Reply("telemetry", 200)
        match = re.fullmatch(r"/v([12])/reconstructions/([0-9a-f]{64})", request.path)
        if not self._admits(request):
            return Reply("cas", 401)
        if match is None or int(match[1]) > self.newest_version or match[2] not in self.store.files:
            return Reply("cas", 404)
        size = self.store.size(match[2])
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", f"bytes=0-{max(0, size - 1)}"))
        if asked is None or int(asked[1]) > max(0, size - 1):
            return Reply("cas", 416)
        skipped, terms = self.store.reconstruct(match[2], int(asked[1]), min(size, int(asked[2]) + 1))
        reconstruction = self._newer(terms) if match[1] == "2" else self._older(terms)
        reconstruction["offset_into_first_range"] = skipped
        reconstruction["terms"] = [
            {"hash": term.xorb.name, "unpacked_length": term.length, "range": _bounds(term.first, term.last)}
            for term in terms
        ]
        # A Range header is about the file's bytes, not about this answer's.
        json_type = {"Content-Type": "application/json"}
        return Reply("cas", 200, json_type, json.dumps(reconstruction).encode(), divisible=False)

    def _newer(self, terms: list[Term]) -> dict[str, object]:
        fetches = defaultdict(list)
        for term in dict.fromkeys(terms):
            part = {"chunks": _bounds(term.first, term.last), "bytes": _bounds(*term.stored)}
            fetches[term.xorb.name].append({"url": self._url(term), "ranges": [part]})
        return {"xorbs": fetches}

    def _older(self, terms: list[Term]) -> dict[str, object]:
        fetches = defaultdict(list)
        for term in dict.fromkeys(terms):
            part = {"range": _bounds(term.first, term.last), "url_range": _bounds(*term.stored)}
            fetches[term.xorb.name].append({"url": self._url(term), **part})
        return {"fetch_info": fetches}

    def _url(self, term: Term) -> str:
        path = f"/xorbs/{term.xorb.name}"
        return f"{self.transfer_host.origin}{path}?{urlencode(self.urls.sign(path))}"

    def _transfer(self, request: Request) -> Reply:
        xorb = self.store.xorbs.get(request.parts[-1] if request.parts else "")
        if xorb is None or xorb.blob is None or not self.urls.accepts(request.path, request.query):
            return Reply("xorb", 403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
        return Reply("xorb", 200, {"ETag": f'"{xorb.name}"', "Accept-Ranges": "bytes"}, xorb.blob)


def _bounds(start: int, end: int) -> dict[str, int]:
    return {"start": start, "end": end}
