"""The Hugging Face Hub: a revision is resolved once to a commit, whose tree is listed once and whose bytes are read."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from huggingface_hub import HfApi, constants, hf_hub_url, set_client_factory
from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile, Span
from downloader.errors import (
    ConfigurationError,
    DownloadError,
    ProtocolDown,
    ProtocolFailed,
    SourceChanged,
    SourceNotFound,
    SourceUnavailable,
    UsageError,
)
from downloader.integrity import proves_itself
from downloader.selection import Selection
from downloader.sources import XetAccess
from downloader.sources.hub_answers import HubAnswers, error_code
from downloader.sources.names import CONTROL, NOT_NAMES, Names
from downloader.sources.versions import version_of
from downloader.wire import RangeRequest, Refusal
from downloader.wire.refusal import host_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from downloader.sources import Body
    from downloader.wire import Web

GRAMMAR = re.compile(
    r"hf://(?:(?P<kind>models|datasets|spaces)/)?"
    r"(?P<repository>[^/@:]++(?:/[^/@:]++)?+)"
    r"(?:[@:](?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+))?"
    r"(?:/(?P<folder>.*))?"
)
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
DIGITS = {Algorithm.GIT_SHA1: re.compile(r"[0-9a-f]{40}"), Algorithm.SHA256: re.compile(r"[0-9a-f]{64}")}
COMMIT = DIGITS[Algorithm.GIT_SHA1]
XET_HASH = DIGITS[Algorithm.SHA256]
MAX_FILES = 1_000_000
MAX_PAGES = 10_000
MAX_PAGE = 16 << 20
"""Bytes of one answer. Decoded they may take thirty times as much; a thousand files take half a megabyte."""
MAX_LISTING = 512 << 20
"""Bytes of all answers together."""
LIBRARY = "artifact-downloader"
MAX_TOKEN = 1 << 16
OK = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubAddress:
    """`hf://[datasets/|spaces/]org/name[@revision | :revision][/sub/path]`; old models have a name of one part."""

    kind: str
    repository: str
    revision: str
    folder: str

    @classmethod
    def parse(cls, uri: str) -> HubAddress:
        """Raise UsageError for anything else."""
        match = GRAMMAR.fullmatch(uri)
        names = match.group("repository").split("/") if match else []
        folder = _decoded((match and match.group("folder")) or "")
        folder = folder and folder.strip("/")
        revision = _decoded((match and match.group("revision")) or "main")
        hostile = _is_hostile(revision) or (folder != "" and _is_hostile(folder))
        if match is None or hostile or not all(PART.fullmatch(name) and ".." not in name for name in names):
            raise UsageError(
                f"{uri!r} does not name a repository on the Hub",
                hint="write hf://org/name, hf://org/name@revision or hf://org/name/sub/path",
            )
        kind = (match.group("kind") or "models").removesuffix("s")
        return cls(kind, match.group("repository"), revision or "", folder or "")

    @property
    def whole(self) -> str:
        """The URI of the repository, at any revision."""
        return f"hf://{self.repository}" if self.kind == "model" else f"hf://{self.kind}s/{self.repository}"


def _decoded(text: str) -> str | None:
    """Return a part of a URI without its percent-encoding, as in any URI; None for what is no text then."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None


def _is_hostile(path: str | None) -> bool:
    return path is None or not NOT_NAMES.isdisjoint(path.split("/")) or CONTROL.search(path) is not None


class HubSource:
    """A repository at one commit."""

    def __init__(
        self, uri: str, web: Web, *, endpoint: str, token: str, login: str = "", selection: Selection | None = None
    ) -> None:
        """Ask `endpoint` with the `token`, or with a `login`, which is the value of an Authorization header.

        The names of files that `selection` does not keep are not judged.
        """
        self._uri = uri
        self._selection = selection or Selection()
        self._address = HubAddress.parse(uri)
        self._web = web
        self._endpoint = endpoint.rstrip("/")
        authorization = login or (f"Bearer {token}" if token else "")
        self._headers = {"authorization": authorization} if authorization else {}
        self._answers = HubAnswers(
            self._address.repository, self._address.revision, self._endpoint, with_token=bool(token)
        )
        self._commit = ""
        """What the revision stands for; empty until it is asked for, and again once that commit is gone."""
        self._listed = ""
        """The commit of the last manifest."""
        self._gone: set[str] = set()
        """Commits that had vanished when their files were asked for."""
        self._named_again = False
        """The last manifest is of a commit that had vanished before: listing it again does not help."""
        self._root = ""
        """What the addresses of the commit's files begin with."""

    def version(self) -> str | None:
        """Name the commit that the revision stands for now; from then on it stays that commit."""
        return version_of(self._uri, [self._pinned(self._api())])

    def manifest(self) -> Manifest:
        """Return the manifest of the commit that `version` names."""
        api = self._api()
        commit = self._pinned(api)
        self._root = self._root_of(commit)
        files, names = [], Names(self._uri)
        for entry in self._tree(api, commit):
            if not isinstance(entry.path, str):
                raise ProtocolFailed(f"the listing of {self._uri} has a file without a name")
            if self._wants(entry.path):
                if self._selection.wants(entry.path):
                    names.add(entry.path)
                files.append(self._file(entry))
        self._answers.listed = True
        self._listed, self._named_again = commit, commit in self._gone
        if not files:
            prefix = self._address.folder
            where = f"{prefix!r} in {self._uri}" if prefix else self._uri
            raise SourceNotFound(f"there are no files at {where}", hint="check the path and the revision")
        names.finish()
        files.sort(key=lambda file: file.path)
        version = version_of(self._uri, [commit])
        return Manifest(self._uri, tuple(files), revision=commit, version=version, whole=self._address.whole)

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span."""
        try:
            return self._web.open(self._request(file, span))
        except Refusal as refusal:
            raise self._refused(refusal, file.path) from refusal

    def announce(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Ask for all that will be opened next."""
        self._web.announce([self._request(file, span) for file, span in pieces])

    def _request(self, file: RemoteFile, span: Span) -> RangeRequest:
        return RangeRequest(self._url(file.path), span, file.size, None, self._headers, proves_itself(file))

    def xet_access(self) -> XetAccess:
        """Ask for a Xet token for the commit. Raises ProtocolDown where the Hub, or its mirror, has none to give."""
        url = f"{self._endpoint}/api/{self._address.kind}s/{self._address.repository}/xet-read-token/{self._listed}"
        reply = self._web.fetch(url, headers=self._headers, limit=MAX_TOKEN)
        if reply.status != OK:
            raise self._no_xet_token(Refusal(reply.status, reply.url, reply.headers, reply.body))
        try:
            answer = json.loads(reply.body)
            return XetAccess(
                str(answer["casUrl"]), str(answer["accessToken"]), int(answer["exp"]), url, dict(self._headers)
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ProtocolDown(f"{self._endpoint} gives a Xet token that makes no sense") from error

    def _no_xet_token(self, refusal: Refusal) -> DownloadError:
        """Return why there is no Xet token. What else it may say of the repository, plain HTTP will show."""
        error = self._refused(refusal, "a Xet token")
        if isinstance(error, SourceChanged) or error_code(refusal) == "GatedRepo":
            return error
        return ProtocolDown(f"{refusal.host} gives no Xet token (HTTP {refusal.status})")

    def _refused(self, refusal: Refusal, what: str) -> DownloadError:
        """Return the error for what was refused after the listing: a file, or a token for all of them."""
        lost = error_code(refusal) in ("RevisionNotFound", "EntryNotFound") and self._answers.is_verdict(refusal)
        if not lost:
            return self._answers.meaning(refusal, what)
        sentence = f"{refusal.host} lacks {what} at commit {self._listed} of {self._uri}, which it has listed"
        if self._named_again or self._is_pinned:
            return ProtocolFailed(sentence, hint="its copies may differ for now; try again later")
        self._gone.add(self._listed)
        self._commit = ""
        return SourceChanged(sentence, hint="start again to fetch what the revision stands for now")

    @property
    def _is_pinned(self) -> bool:
        """The URI names a commit in full: that cannot stand for another one later."""
        return COMMIT.fullmatch(self._address.revision) is not None

    def close(self) -> None:
        """Nothing to release: connections belong to the run."""

    def _api(self) -> HfApi:
        # Else the library asks the Hub for a list of agents first, keeps it in HF_HOME, and stumbles over odd ones.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        set_client_factory(lambda: self._web.library_client(MAX_PAGE, MAX_LISTING, MAX_PAGES))
        return HfApi(endpoint=self._endpoint, token=False, library_name=LIBRARY, headers=self._headers)

    def _pinned(self, api: HfApi) -> str:
        self._commit = self._commit or self._resolve(api)
        return self._commit

    def _resolve(self, api: HfApi) -> str:
        address = self._address
        if self._is_pinned:
            return address.revision
        try:
            # Without `expand` the answer would name every file as well.
            info = api.repo_info(address.repository, revision=address.revision, repo_type=address.kind, expand="sha")
        except Exception as error:
            raise self._translate(error) from error
        if not isinstance(info.sha, str) or not info.sha:
            raise ProtocolFailed(f"the Hub does not tell the commit of {self._uri}")
        return info.sha

    def _wants(self, path: str) -> bool:
        prefix = self._address.folder
        return not prefix or path == prefix or path.startswith(prefix + "/")

    def _tree(self, api: HfApi, commit: str) -> Iterator[RepoFile]:
        address = self._address
        entries = api.list_repo_tree(address.repository, recursive=True, revision=commit, repo_type=address.kind)
        try:
            for entry in islice(entries, MAX_FILES + 1):
                if isinstance(entry, RepoFile):
                    yield entry
            more = next(iter(entries), None) is not None
        except Refusal as refusal:
            raise self._not_listed(refusal, commit) from refusal
        except Exception as error:
            raise self._translate(error) from error
        if more:
            raise ProtocolFailed(f"the listing of {self._uri} has more than {MAX_FILES} entries")

    def _not_listed(self, refusal: Refusal, commit: str) -> DownloadError:
        """Return the error for a refused page; a commit that vanished meanwhile is resolved again by the next try."""
        vanished = error_code(refusal) == "RevisionNotFound" and self._answers.is_verdict(refusal)
        if not vanished or self._is_pinned:
            return self._answers.meaning(refusal)
        self._commit = ""
        revision = self._address.revision
        return SourceUnavailable(f"{refusal.host} names commit {commit} for {revision!r} of {self._uri}, and lacks it")

    def _file(self, entry: RepoFile) -> RemoteFile:
        if not isinstance(entry.size, int) or entry.size < 0:
            raise ProtocolFailed(f"the Hub does not tell the size of {entry.path[:80]!r} in {self._uri}")
        found = entry.xet_hash
        xet_hash = found if isinstance(found, str) and XET_HASH.fullmatch(found) else None
        return RemoteFile(entry.path, entry.size, (self._digest(entry),), xet_hash=xet_hash)

    def _url(self, path: str) -> str:
        """Return where a file is. Not kept for each: of a hundred thousand files that would be the largest part."""
        return self._root + quote(path)

    def _root_of(self, commit: str) -> str:
        """Return what the library's addresses of all files begin with; it checks all parts anew for each."""
        address = self._address
        return hf_hub_url(address.repository, "", repo_type=address.kind, revision=commit, endpoint=self._endpoint)

    def _digest(self, entry: RepoFile) -> Digest:
        value = entry.blob_id if entry.lfs is None else entry.lfs.sha256
        algorithm = Algorithm.GIT_SHA1 if entry.lfs is None else Algorithm.SHA256
        if isinstance(value, str) and DIGITS[algorithm].fullmatch(value):
            return Digest(algorithm, value)
        if isinstance(value, str) and set(value) == {"*"}:
            # The Hub masks the digests of gated files with asterisks for those who may not read them.
            raise self._answers.masked()
        raise ProtocolFailed(f"the Hub does not tell a digest of {entry.path[:80]!r} in {self._uri}")

    def _translate(self, error: Exception) -> DownloadError:
        """Map what huggingface_hub raises, beside the errors that are ours already."""
        if isinstance(error, Refusal):
            return self._answers.meaning(error)
        if isinstance(error, DownloadError):
            return error
        if isinstance(error, OfflineModeIsEnabled):
            return ConfigurationError("HF_HUB_OFFLINE forbids to ask the Hub", hint="unset it")
        if isinstance(error, HFValidationError):
            return UsageError(f"{self._uri} does not name a repository on the Hub: {error}")
        log.debug("the library stumbled over an answer", exc_info=error)
        return ProtocolFailed(f"{host_of(self._endpoint)} answers for {self._uri} {_what_it_is(error)}")


def _what_it_is(error: Exception) -> str:
    """Return what is wrong with an answer over which the library stumbled, in words that are not Python's."""
    if isinstance(error, json.JSONDecodeError):
        return "with a web page" if error.doc.lstrip().startswith("<") else "with what is no JSON"
    if isinstance(error, KeyError):
        return f"without the field {str(error.args[0])[:80]!r}" if error.args else "without a field"
    return "in a form that the Hub's API does not have"
