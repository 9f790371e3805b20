"""What the Hub double answers on its own port: listings, and where a file's bytes are."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, urlencode

from tests.servers.messages import Reply
from tests.servers.repository import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.servers.hub import Hub
    from tests.servers.messages import Request
    from tests.servers.repository import Repository, StoredFile

_API = r"/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+(/[^/]+)?)"
_KINDS: dict[str | None, Kind] = {None: Kind.MODEL, **{f"{kind}s": kind for kind in Kind}}


class _Asked(NamedTuple):
    """A request, understood."""

    request: Request
    hub: Hub
    repository: Repository
    sha: str
    """The commit that it asks for."""
    path: str


class _Refusal(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message}
        if code is not None:
            self.headers["X-Error-Code"] = code


def _json(route: str, value: object, headers: Mapping[str, str] | None = None, status: int = 200) -> Reply:
    typed = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Reply(route, status, typed, json.dumps(value).encode())


def _info(asked: _Asked) -> Reply:
    """Describe the repository at one commit."""
    repository, tree = asked.repository, asked.repository.commits[asked.sha]
    siblings = []
    for file in tree.values():
        sibling: dict[str, object] = {"rfilename": file.path}
        if "blobs" in asked.request.query:
            sibling |= {"blobId": file.oid, "size": file.blob.size}
            if file.sha256:
                sibling["lfs"] = {"sha256": file.sha256, "size": file.blob.size, "pointerSize": file.pointer_size}
        siblings.append(sibling)
    info = {
        "_id": asked.sha[:24],
        "id": repository.name,
        "author": repository.name.partition("/")[0],
        "sha": asked.sha,
        "private": repository.private,
        "gated": "manual" if repository.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "cardData": dict(repository.card),
        "createdAt": "2026-01-01T00:00:00.000Z",
        "lastModified": "2026-01-01T00:00:00.000Z",
        "siblings": siblings,
    }
    if wanted := asked.request.query.get("expand"):
        info = {name: value for name, value in info.items() if name in ("_id", "id", wanted)}
    return _json("api", info)


def _tree(asked: _Asked) -> Reply:
    """List files and folders, one page of them."""
    tree, query = asked.repository.commits[asked.sha], asked.request.query
    prefix = f"{asked.path}/" if asked.path else ""
    entries: dict[str, dict[str, object]] = {}
    for file in tree.values():
        if not file.path.startswith(prefix):
            continue
        folders = file.path.removeprefix(prefix).split("/")[:-1]
        for depth in range(len(folders)):
            folder = prefix + "/".join(folders[: depth + 1])
            entries[folder] = {"type": "directory", "oid": asked.sha, "size": 0, "path": folder}
        entry: dict[str, object] = {"type": "file", "oid": file.oid, "size": file.blob.size, "path": file.path}
        if file.sha256:
            entry["lfs"] = {"oid": file.sha256, "size": file.blob.size, "pointerSize": file.pointer_size}
        if file.xet_hash:
            entry["xetHash"] = file.xet_hash
        entries[file.path] = entry
    if asked.path and not entries:
        raise _Refusal(404, f"{asked.path} does not exist on this revision", "EntryNotFound")
    if query.get("recursive", "false").lower() != "true":
        entries = {path: entry for path, entry in entries.items() if "/" not in path.removeprefix(prefix)}
    listing = [entries[path] for path in sorted(entries)]
    start = int(query.get("cursor", "0"))
    stop = start + int(query.get("limit", asked.hub.page_size))
    headers = {}
    if stop < len(listing):
        url, _, _ = f"{asked.request.origin}{asked.request.target}".partition("?")
        headers["Link"] = f'<{url}?{urlencode({**query, "cursor": stop})}>; rel="next"'
    return _json("tree", listing[start:stop], headers)


def _xet_token(asked: _Asked) -> Reply:
    """Hand out access to the CAS, in headers for the hub client and as JSON for hf_xet."""
    _pass_gate(asked)
    access = asked.hub.xet.access()
    headers = {
        "X-Xet-Cas-Url": str(access["casUrl"]),
        "X-Xet-Access-Token": str(access["accessToken"]),
        "X-Xet-Token-Expiration": str(access["exp"]),
    }
    return _json("token", access, headers)


def _resolve(asked: _Asked) -> Reply:
    """Tell where a file is: elsewhere when it is large."""
    _pass_gate(asked)
    repository = asked.repository
    file = _file(asked)
    headers = {
        "X-Repo-Commit": asked.sha,
        "X-Linked-Etag": f'"{file.etag}"',
        "X-Linked-Size": str(file.blob.size),
        "Accept-Ranges": "bytes",
    }
    if file.sha256:
        if file.xet_hash:
            token = f"{asked.request.origin}/api/{repository.kind}s/{repository.name}/xet-read-token/{asked.sha}"
            headers |= {"X-Xet-Hash": file.xet_hash, "Link": f'<{token}>; rel="xet-auth"'}
        return Reply("resolve", 302, {**headers, "Location": asked.hub.cdn_url(file)})
    if asked.hub.resolve_cache:
        place = f"{repository.kind}s/{repository.name}/{asked.sha}/{quote(file.path)}"
        query = urlencode({"etag": f'"{file.etag}"'})
        return Reply("resolve", 307, {**headers, "Location": f"/api/resolve-cache/{place}?{query}"})
    return _content(asked)


def _content(asked: _Asked) -> Reply:
    """Serve a small file."""
    _pass_gate(asked)
    file = _file(asked)
    headers = {"ETag": f'"{file.oid}"', "X-Repo-Commit": asked.sha, "Accept-Ranges": "bytes"}
    return Reply("resolve", 200, {**headers, "Content-Type": "text/plain; charset=utf-8"}, file.blob)


def _file(asked: _Asked) -> StoredFile:
    file = asked.repository.commits[asked.sha].get(asked.path)
    if file is None:
        raise _Refusal(404, "Entry not found", "EntryNotFound")
    return file


def _pass_gate(asked: _Asked) -> None:
    repository, user = asked.repository, asked.hub.tokens.get(asked.request.bearer or "")
    if not repository.gated or user in repository.members:
        return
    restricted = f"Access to {repository.kind} {repository.name} is restricted"
    if user is None:
        hint = "You must have access to it and be authenticated to access it. Please log in."
        raise _Refusal(401, f"{restricted}. {hint}", "GatedRepo")
    page = f"{asked.request.origin}/{repository.name}"
    hint = f"and you are not in the authorized list. Visit {page} to ask for access."
    raise _Refusal(403, f"{restricted} {hint}", "GatedRepo")


_ROUTES: tuple[tuple[str, str, Callable[[_Asked], Reply]], ...] = (
    ("tree", _API + r"/tree/(?P<revision>[^/]+)(/(?P<path>.+))?", _tree),
    ("token", _API + r"/xet-read-token/(?P<revision>[^/]+)", _xet_token),
    ("api", _API + r"(/revision/(?P<revision>[^/]+))?", _info),
    (
        "resolve",
        r"/api/resolve-cache/(?P<kind>[^/]+)/(?P<name>[^/]+(/[^/]+)?)/(?P<revision>[0-9a-f]{40})/(?P<path>.+)",
        _content,
    ),
    (
        "resolve",
        r"/((?P<kind>datasets|spaces)/)?(?P<name>[^/]+(/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
        _resolve,
    ),
)


class HubRoutes:
    """The application behind the Hub's own port."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        raw_path = request.target.partition("?")[0]
        for route, pattern, answer in _ROUTES:
            match = re.fullmatch(pattern, raw_path)
            if match is not None:
                try:
                    return self._answer(request, route, match.groupdict(), answer)
                except _Refusal as refusal:
                    return _json(route, {"error": str(refusal)}, refusal.headers, refusal.status)
        return _json("other", {"error": "Sorry, we can't find the page you are looking for."}, status=404)

    def _answer(
        self, request: Request, route: str, names: Mapping[str, str | None], answer: Callable[[_Asked], Reply]
    ) -> Reply:
        kind, name = _KINDS[names["kind"]], unquote(names["name"] or "")
        new_name = self._hub.moved.get((kind, name))
        if new_name is not None:
            return Reply(route, 307, {"Location": request.target.replace(name, new_name, 1)})
        repository = self._visible(request, kind, name)
        revision = unquote(names.get("revision") or "main")
        sha = repository.resolve(revision)
        if sha is None:
            raise _Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return answer(_Asked(request, self._hub, repository, sha, unquote(names.get("path") or "")))

    def _visible(self, request: Request, kind: Kind, name: str) -> Repository:
        """Return the repository if this client may know of it."""
        repository, user = self._hub.repositories.get((kind, name)), None
        if request.bearer is not None:
            user = self._hub.tokens.get(request.bearer)
            if user is None:
                raise _Refusal(401, "Invalid credentials in Authorization header")
        if repository is None or (repository.private and user not in repository.members):
            if user is None:
                raise _Refusal(401, "Invalid username or password.", "RepoNotFound")
            raise _Refusal(404, "Repository not found", "RepoNotFound")
        if repository.disabled:
            raise _Refusal(403, "Access to this resource is disabled.")
        return repository
