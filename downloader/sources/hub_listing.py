"""What a repository holds, asked by the routes of the Hub's API that are known where it is asked.

The Hub itself answers at the first attempt. Repository managers and mirrors know fewer routes and parameters; what they
refuse for want of them is asked in a plainer way: the commit without `expand`, the files of a tree as siblings of the
repository's description, and what that lacks about a file in the head of the file itself.
"""

from __future__ import annotations

from http import HTTPStatus
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from huggingface_hub import hf_hub_url
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from downloader.artifact import MAX_FILES, ModelCard, RemoteFile, shown_url
from downloader.errors import ProtocolFailed, UsageError
from downloader.network import HttpStatusError
from downloader.sources.hub_answers import error_code
from downloader.sources.hub_heads import HubHeads
from downloader.sources.hub_json import entries_of, said
from downloader.sources.paths import is_step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from downloader.network import HttpClient
    from downloader.sources.hub_address import HubAddress
    from downloader.sources.hub_entries import Entries

MAX_PAGES = 10_000
MAX_PAGE = 16 << 20
"""Bytes of one answer. Decoded they may take thirty times as much; a thousand files take half a megabyte."""
MAX_LISTING = 512 << 20
"""Bytes of all answers together."""
FULL_PAGE = 50
"""A whole number of pages is where a listing ends whose links got lost on the way. Servers have pages of 50 to 1000
entries, all of them multiples of this."""
UNKNOWN_ROUTE = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.NOT_ACCEPTABLE,
        HTTPStatus.GONE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.NOT_IMPLEMENTED,
    }
)
"""What a server may answer to a route or a parameter that it does not know. The Hub would add its own code."""


class HubListing:
    """One repository at one endpoint."""

    def __init__(
        self, address: HubAddress, http: HttpClient, endpoint: str, headers: Mapping[str, str], entries: Entries
    ) -> None:
        """`headers` are for the endpoint alone. Raises UsageError for a name that no repository can have."""
        try:
            validate_repo_id(address.repository)
        except HFValidationError as error:
            raise UsageError(f"{address.repository!r} cannot be the name of a repository: {error}") from error
        self._address = address
        self._http = http
        self._headers = headers
        self._entries = entries
        self._heads = HubHeads(http, headers, entries)
        self._endpoint = endpoint
        self._api = f"{endpoint}/api/{address.kind}s/{address.repository}"
        self.begin()

    def commit(self) -> str:
        """Return the commit that the revision stands for, empty if that is not told. Raises what the library does."""
        url = f"{self._api}/revision/{quote(self._address.revision, safe='')}"
        try:
            # Without `expand` the answer would name every file as well.
            answer = self._get(url, {"expand": "sha"})
        except HttpStatusError as error:
            if not _is_unknown(error):
                raise
            answer = self._get(url, {})
        sha = answer.get("sha")
        return sha if isinstance(sha, str) else ""

    def card(self, commit: str) -> ModelCard:
        """Return what the card of the repository says. Raises what `commit` does."""
        answer = self._get(f"{self._api}/revision/{quote(commit, safe='')}", {"expand": "cardData"})
        data = answer.get("cardData")
        if not isinstance(data, dict):
            return ModelCard()
        licence, bases = data.get("license_name") or data.get("license"), data.get("base_model")
        bases = [bases] if isinstance(bases, str) else bases if isinstance(bases, list) else []
        named = tuple(name for name in bases if isinstance(name, str))
        return ModelCard(licence if isinstance(licence, str) else "", named)

    def root(self, commit: str) -> str:
        """Return what the addresses of all files begin with; the library checks all parts again for each."""
        address = self._address
        return hf_hub_url(address.repository, "", repo_type=address.kind, revision=commit, endpoint=self._endpoint)

    def files(self, commit: str) -> Iterator[RemoteFile]:
        """Yield what the address names, asking for no more of the repository than that. Raises what `commit` does."""
        path = self._address.folder
        # One HEAD of a file is cheaper than a listing of the folder that it would be. The name decides which is tried
        # first, since most files have a dot in theirs and most folders have none.
        is_like_file = "." in path.rpartition("/")[2]
        if is_like_file and (file := self._heads.single(self.root(commit), path)):
            return iter([file])
        try:
            found = _started(self._tree(commit, path))
        except HttpStatusError as error:
            if _is_unknown(error):
                return self._siblings(commit, error)
            # The Hub answers EntryNotFound for the tree of a path that is a file.
            if not path or error_code(error) != "EntryNotFound":
                raise
            found = iter(())
        first = next(found, None)
        if first is not None:
            return chain([first], found)
        if path and not is_like_file and (file := self._heads.single(self.root(commit), path)):
            return iter([file])
        return self._beside(commit, path) if path else found

    def begin(self) -> None:
        """Bound what is asked from now on: one listing."""
        # The library has one client for the whole process, which belongs to the program that calls us (ADR 77).
        self._client = self._http.library_client(MAX_PAGE, MAX_LISTING, MAX_PAGES)

    def _get(self, url: str, params: Mapping[str, str]) -> dict[str, Any]:
        answer = said(self._client.get(url, params=dict(params), headers=self._headers))
        if not isinstance(answer, dict):
            raise ProtocolFailed(f"{shown_url(url)} describes no repository")
        return answer

    def _pages(self, url: str, params: Mapping[str, str]) -> Iterator[Any]:
        """Yield the entries of all pages of a listing. A link to the next page has the parameters in it."""
        page = self._client.get(url, params=dict(params), headers=self._headers)
        yield from entries_of(page)
        while following := page.links.get("next", {}).get("url"):
            page = self._client.get(following, headers=self._headers)
            yield from entries_of(page)

    def _tree(self, commit: str, path: str, *, recursive: bool = True) -> Iterator[RemoteFile]:
        """Yield the wanted files of a folder."""
        below = f"/{quote(path)}" if path else ""
        params = {"recursive": str(recursive).lower(), "expand": "false"}
        url = f"{self._api}/tree/{quote(commit, safe='')}{below}"
        items = self._pages(url, params)
        listed: dict[str, RemoteFile] = {}
        folders, count, repeated = Folders(), 0, 0
        for item in islice(items, MAX_FILES):
            count += 1
            if item["type"] != "file":
                folders.add(item.get("path"))
            elif self._is_wanted(item["path"]):
                folders.filled(item["path"])
                file = self._entries.listed(item["path"], item)
                if _is_new(file, listed, shown_url(url)):
                    yield file
                elif (repeated := repeated + 1) > len(listed):
                    raise ProtocolFailed(f"{shown_url(url)} lists the same again and again: there is no end to it")
        if next(items, None) is not None:
            raise ProtocolFailed(f"{shown_url(url)} lists more than {MAX_FILES} entries")
        if recursive and (folders.empty or count % FULL_PAGE == 0):
            yield from self._unlisted(commit, listed, folders.empty, shown_url(url))

    def _unlisted(
        self, commit: str, listed: Collection[str], empty: Collection[str], where: str
    ) -> Iterator[RemoteFile]:
        """Yield what a tree lacks that may have been cut: its end looks like the end of any page.

        So does one that has folders with nothing in them, which no commit has.
        """
        try:
            siblings = self._described(commit).get("siblings")
        except (HttpStatusError, ProtocolFailed):
            siblings = None
        if isinstance(siblings, list):
            missing = [item for item in siblings if isinstance(item, dict) and item.get("rfilename") not in listed]
            yield from self._of_siblings(commit, missing)
        elif empty:
            raise ProtocolFailed(
                f"{where} lists the folder {next(iter(empty))[:80]!r} but nothing in it: it is not whole"
            )

    def _is_wanted(self, path: object) -> bool:
        if not isinstance(path, str):
            raise ProtocolFailed(f"{shown_url(self._api)} lists a file without a name")
        return self._address.wants(path)

    def _beside(self, commit: str, path: str) -> Iterator[RemoteFile]:
        """Return the file at a path that is not a folder, from the folder that it is in."""
        try:
            return _started(self._tree(commit, path.rpartition("/")[0], recursive=False))
        except HttpStatusError as error:
            if error_code(error) != "EntryNotFound":
                raise
            return iter(())

    def _siblings(self, commit: str, error: HttpStatusError) -> Iterator[RemoteFile]:
        """Return the wanted files by the description of the repository, where the server has no route for trees."""
        answer = self._described(commit)
        siblings = answer.get("siblings")
        if not isinstance(siblings, list) or not all(isinstance(item, dict) for item in siblings):
            raise ProtocolFailed(f"{error.message}, and its description of the repository names no files")
        if answer.get("sha", commit) != commit:
            raise ProtocolFailed(f"{error.message}, and its description is of another commit")
        return self._of_siblings(commit, siblings)

    def _described(self, commit: str) -> dict[str, Any]:
        """Return the description of the repository, with sizes and digests of its files if these are told."""
        url = f"{self._api}/revision/{quote(commit, safe='')}"
        try:
            return self._get(url, {"blobs": "true"})
        except HttpStatusError as error:
            if not _is_unknown(error):
                raise
            return self._get(url, {})

    def _of_siblings(self, commit: str, siblings: list[dict[str, Any]]) -> Iterator[RemoteFile]:
        """Yield the wanted ones of the files that a description names."""
        rest, seen = [], set()
        for item in siblings:
            path = item.get("rfilename")
            if not self._is_wanted(path) or not isinstance(path, str) or path in seen:
                continue
            seen.add(path)
            if is_step(path):
                # No request is sent for it, least of all with a token; opening it raises an error that says why.
                yield RemoteFile(path, 0)
            elif _is_complete(item):
                yield self._entries.listed(path, item)
            else:
                rest.append(path)
        yield from self._heads.describe(self.root(commit), commit, rest)


class Folders:
    """The folders of a listing in which no file has been seen yet."""

    def __init__(self) -> None:
        self.empty: set[str] = set()

    def add(self, path: object) -> None:
        """Record a folder: it comes before its files."""
        if isinstance(path, str):
            self.empty.add(path)

    def filled(self, path: str) -> None:
        """Record a file."""
        folder = path.rpartition("/")[0]
        while folder in self.empty:
            self.empty.discard(folder)
            folder = folder.rpartition("/")[0]


def _is_new(file: RemoteFile, listed: dict[str, RemoteFile], where: str) -> bool:
    """Add a file to those that are `listed`; pages that overlap name some again. Raises ProtocolFailed for a lie."""
    known = listed.setdefault(file.path, file)
    if known is not file and known != file:
        raise ProtocolFailed(f"{where} lists {file.path[:80]!r} twice, and not the same of it")
    return known is file


def _started(files: Iterator[RemoteFile]) -> Iterator[RemoteFile]:
    """Return the same after its first request, so that it is known whether that is refused."""
    first = next(files, None)
    return chain(() if first is None else [first], files)


def _is_unknown(error: HttpStatusError) -> bool:
    """Tell whether it may be the route or a parameter that is refused, and not the repository."""
    return error.status in UNKNOWN_ROUTE and not error_code(error)


def _is_complete(sibling: Mapping[str, Any]) -> bool:
    return sibling.get("size") is not None and (sibling.get("blobId") is not None or sibling.get("lfs") is not None)
