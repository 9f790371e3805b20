"""A Hugging Face Hub on loopback, real enough for the real `huggingface_hub`, `hf` and `hf_xet`.

    with Hub() as hub:
        model = hub.create("org/model", private=True, members={"alice"})
        sha = model.commit({"config.json": b"{}", "model.safetensors": Noise(50 << 20, seed=1)})
        hub.tokens["hf_alice"] = "alice"
        hub.faults.add(Stall(after=1 << 20), route="cdn")
        ...  # HF_ENDPOINT=hub.endpoint
        assert hub.log.sent("cdn") == 50 << 20

Routes, for faults and for the log: `api` (repository info), `tree`, `token` (access to Xet), `resolve` (also the small
files themselves) on the Hub's port; `cdn`, `cas` with `telemetry`, and `xorb` on ports of their own, which can be
closed and opened: `hub.cdn.server`, `hub.xet.server`, `hub.xet.transfer_host`.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from tests.servers.blobs import Shelf
from tests.servers.cas import XetServices
from tests.servers.closable import Closable
from tests.servers.faults import Faults
from tests.servers.hub_routes import HubRoutes
from tests.servers.messages import Log, Record, Reply
from tests.servers.origin import Server
from tests.servers.process import LOOPBACK
from tests.servers.repository import Kind, Repository, StoredFile
from tests.servers.signatures import Signer
from tests.servers.xet import XetStore

if TYPE_CHECKING:
    import ssl

    from tests.servers.messages import Request


class ContentNetwork:
    """The CDN: serves contents by their sha256 to every client with a signed URL, on an origin of its own."""

    def __init__(self, faults: Faults, log: Log, tls: ssl.SSLContext | None = None, host: str = LOOPBACK) -> None:
        self.signer = Signer(lifetime=3600)
        self._files: dict[str, StoredFile] = {}
        self.server = Server(self._answer, faults, log, tls=tls, host=host)

    def url(self, file: StoredFile) -> str:
        """Return a URL under which the file can be read until its signature expires."""
        path = f"/{file.sha256}/{file.path}"
        self._files[path] = file
        return f"{self.server.origin}{quote(path)}?{urlencode(self.signer.sign(path))}"

    def _answer(self, request: Request) -> Reply:
        file = self._files.get(request.path)
        if file is None or not self.signer.accepts(request.path, request.query):
            denied = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>'
            return Reply("cdn", 403, {"Content-Type": "application/xml"}, denied)
        # A content network's own validator has nothing to do with the sha256.
        headers = {"ETag": f'"{file.oid[:32]}-8"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        return Reply("cdn", 200, headers, file.blob)


class Hub(Closable):
    """The Hub and everything that belongs to it. Its switches may be turned at any time, from any thread."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = LOOPBACK) -> None:
        """With `tls`, all ports speak TLS with it. `host` is an address of this machine."""
        self.faults = Faults()
        """What goes wrong, on all ports."""
        self.log = Log()
        """What was asked, on all ports."""
        self.tokens: dict[str, str] = {}
        """Users by their tokens."""
        self.repositories: dict[tuple[Kind, str], Repository] = {}
        self.moved: dict[tuple[Kind, str], str] = {}
        """New names of renamed repositories."""
        self.page_size = 1000
        """Entries on a page of a listing."""
        self.resolve_cache = True
        """Whether small files are behind a redirect on the same origin, as on the real Hub."""
        self._stack = ExitStack()
        self._shelf = self._stack.enter_context(Shelf())
        self.cdn = ContentNetwork(self.faults, self.log, tls, host)
        self._stack.enter_context(self.cdn.server)
        self._xet_store = XetStore(self._shelf)
        self.xet = XetServices(self._xet_store, self.faults, self.log, tls, host)
        self._stack.enter_context(self.xet.server)
        self._stack.enter_context(self.xet.transfer_host)
        self.server = self._stack.enter_context(Server(HubRoutes(self), self.faults, self.log, tls=tls, host=host))

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT must be."""
        return self.server.origin

    @property
    def leaks(self) -> list[Record]:
        """Requests that carried credentials to an origin that must not see them."""
        strangers = {"cdn": True, "xorb": True, "cas": False, "telemetry": False}
        return [
            record
            for record in self.log.records()
            if record.route in strangers
            and record.request.bearer is not None
            and (strangers[record.route] or record.request.bearer in self.tokens)
        ]

    def create(
        self,
        name: str,
        kind: Kind = Kind.MODEL,
        *,
        private: bool = False,
        gated: bool = False,
        members: set[str] | None = None,
    ) -> Repository:
        """Make an empty repository."""
        repository = Repository(kind, name, self._shelf, self._xet_store.add, private, gated, members=members or set())
        self.repositories[kind, name] = repository
        return repository

    def move(self, name: str, new_name: str) -> None:
        """Rename a model; the old name redirects from now on."""
        repository = self.repositories.pop((Kind.MODEL, name))
        repository.name = new_name
        self.repositories[Kind.MODEL, new_name] = repository
        self.moved[Kind.MODEL, name] = new_name

    def cdn_url(self, file: StoredFile) -> str:
        """Return a signed URL of the content on the CDN."""
        return self.cdn.url(file)

    def close(self) -> None:
        """Stop all servers and forget all content."""
        self._stack.close()
