"""The Hugging Face Hub: a revision is resolved once to a commit, whose tree is listed once and whose bytes are read."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from downloader.artifact import FileTable, Manifest, ModelCard, RemoteFile, Span
from downloader.errors import (
    ConfigurationError,
    DownloadError,
    ProtocolDown,
    ProtocolFailed,
    SourceChanged,
    SourceNotFound,
    SourceUnavailable,
    UntrustedServer,
)
from downloader.filters import FileFilter
from downloader.integrity import proves_itself
from downloader.network import HttpStatusError, RangeRequest, host_of
from downloader.sources.base import XetAccess, version_of
from downloader.sources.hub_address import COMMIT, HubAddress
from downloader.sources.hub_answers import HubAnswers, error_code
from downloader.sources.hub_entries import Entries
from downloader.sources.hub_json import what_it_is
from downloader.sources.hub_listing import HubListing
from downloader.sources.paths import PathValidator
from downloader.sources.xet_locations import xet_locations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from downloader.network import HttpClient
    from downloader.sources.base import Body

MAX_TOKEN = 1 << 16

log = logging.getLogger(__name__)


class HubSource:
    """A repository at one commit."""

    def __init__(
        self,
        uri: str,
        http: HttpClient,
        *,
        endpoint: str,
        token: str,
        token_places: Sequence[str] = ("HF_TOKEN",),
        login: str = "",
        offline: bool = False,
        file_filter: FileFilter | None = None,
    ) -> None:
        """Ask `endpoint` with the `token`, or with a `login`, which is the value of an Authorization header.

        If it is to stay `offline`, nothing is asked, and whatever needs an answer raises ConfigurationError. The names
        of files that `file_filter` does not keep are not judged.
        """
        self._uri = uri
        self._file_filter = file_filter or FileFilter()
        self._address = HubAddress.parse(uri)
        self._http = http
        self._endpoint = endpoint.rstrip("/")
        authorization = login or (f"Bearer {token}" if token else "")
        self._headers = {"authorization": authorization} if authorization else {}
        self._answers = HubAnswers(
            self._address.repository,
            self._address.revision,
            self._endpoint,
            with_token=bool(authorization),
            token_places=("HF_ENDPOINT",) if login else token_places,
        )
        self._token_places = ("HF_ENDPOINT",) if login else tuple(token_places)
        self._kind_of_login = "login" if login else "token"
        self._offline = offline
        entries = Entries(uri, self._answers.masked)
        self._listing = HubListing(self._address, http, self._endpoint, self._headers, entries)
        self._commit = ""
        """What the revision stands for; empty until it is asked for, and again once that commit is gone."""
        self._listed = ""
        """The commit of the last manifest."""
        self._gone: set[str] = set()
        """Commits that had vanished when their files were asked for."""
        self._lends = False
        """It is a mirror of what another source has listed."""
        self._named_again = False
        """The last manifest is of a commit that had vanished before: listing it again does not help."""
        self._root = ""
        """What the addresses of the commit's files begin with."""

    def recall(self, revision: str) -> None:
        """Record the commit that a volume has of this artifact: offline, it is known from nowhere else."""
        self._commit = self._commit or revision

    def locate(self, manifest: Manifest) -> Mapping[str, RemoteFile]:
        """List what this repository has at the commit of another one, if it has that; else at its own revision.

        Raises SourceNotFound later, where a file that is listed cannot be read: mirrors list more than they keep.
        """
        is_known = manifest.revision is not None and COMMIT.fullmatch(manifest.revision) is not None
        # Once: where it lacks that commit, the next try asks for its own.
        if not self._lends and is_known and self._address.is_default:
            self.recall(manifest.revision or "")
        self._lends = True
        return {file.path: file for file in self.manifest().files}

    def version(self) -> str | None:
        """Name the commit that the revision stands for now; from then on it stays that commit."""
        return version_of(self._uri, [self._pinned()])

    def manifest(self) -> Manifest:
        """Return the manifest of the commit that `version` names."""
        self._listing.begin()
        commit = self._pinned()
        if self._offline:
            raise self._forbidden()
        files, names, named = FileTable(), PathValidator(self._uri), self._address.folder
        for file in self._files(commit):
            if file.path == named or self._file_filter.wants(file.path):
                names.add(file.path)
            files.append(file)
        self._answers.listed = True
        self._listed, self._named_again = commit, commit in self._gone
        if not files:
            where = f"at {named!r} in {self._address.whole}" if named else f"in {self._uri}"
            what = f"{host_of(self._endpoint)} has no files {where}"
            raise SourceNotFound(what, hint="check the path and the revision")
        names.finish()
        files = files.taking(files.order())
        version = version_of(self._uri, [commit])
        return Manifest(
            self._uri,
            files,
            revision=commit,
            version=version,
            single=files[0].path == named,
            whole=self._address.whole,
            below=named,
        )

    def card(self) -> ModelCard:
        """Return what the card of the repository says at this commit."""
        if self._offline:
            raise self._forbidden()
        try:
            self._listing.begin()
            return self._listing.card(self._pinned())
        except Exception as error:
            raise self._map_exception(error) from error

    def open(self, file: RemoteFile, span: Span) -> Body:
        """Start reading a span."""
        try:
            return self._http.open(self._request(file, span))
        except HttpStatusError as error:
            raise self._map_status_error(error, file.path) from error

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Ask for all that will be opened next."""
        self._http.prefetch([self._request(file, span) for file, span in pieces])

    def _request(self, file: RemoteFile, span: Span) -> RangeRequest:
        return RangeRequest(
            self._url(file.locator or file.path), span, file.size, None, self._headers, proves_itself(file)
        )

    def xet_access(self) -> XetAccess:
        """Ask for a Xet token for the commit. Raises ProtocolDown where the Hub, or its mirror, gives no usable one."""
        url = f"{self._endpoint}/api/{self._address.kind}s/{self._address.repository}/xet-read-token/{self._listed}"
        reply = self._http.fetch(url, headers=self._headers, limit=MAX_TOKEN)
        if reply.status != HTTPStatus.OK:
            raise self._no_xet_token(reply.status_error())
        try:
            answer = json.loads(reply.body)
            endpoint, token = str(answer["casUrl"]), str(answer["accessToken"])
            access = XetAccess(endpoint, token, int(answer["exp"]), url, dict(self._headers))
            schemes = urlsplit(url).scheme, urlsplit(endpoint).scheme
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ProtocolDown(f"{self._endpoint} gives a Xet token that makes no sense") from error
        if schemes[0] == "https" != schemes[1]:
            # As with a redirect: the token and the signed URLs that come for it could be read on the way.
            raise ProtocolDown(f"{self._endpoint} names a Xet storage without TLS, which is not used")
        return access

    def xet_locations(self, access: XetAccess, xet_hash: str) -> list[str]:
        """Ask Xet's storage."""
        return xet_locations(self._http, access, xet_hash)

    def identity(self) -> str:
        """Tell whether there is a token, and where it was found."""
        if not self._headers:
            return f"without a token (looked for in {' and '.join(self._token_places)})"
        return f"with the {self._kind_of_login} in {self._token_places[-1]}"

    def _no_xet_token(self, error: HttpStatusError) -> DownloadError:
        """Return why there is no Xet token. What else it may say of the repository, plain HTTP will show."""
        ours = self._map_status_error(error, "a Xet token")
        if isinstance(ours, SourceChanged) or error_code(error) == "GatedRepo":
            return ours
        return ProtocolDown(f"{error.host} gives no Xet token (HTTP {error.status})")

    def _map_status_error(self, error: HttpStatusError, what: str) -> DownloadError:
        """Return the error for what was refused after the listing: a file, or a token for all of them."""
        lost = error_code(error) in ("RevisionNotFound", "EntryNotFound") and self._answers.is_verdict(error)
        if not lost:
            return self._answers.map_status_error(error, what)
        sentence = f"{error.host} lacks {what} at commit {self._listed} of {self._uri}, which it has listed"
        if self._lends:
            return SourceNotFound(sentence)
        if self._named_again or self._address.is_pinned:
            return ProtocolFailed(sentence, hint="its copies may differ for now; try again later")
        self._gone.add(self._listed)
        self._commit = ""
        return SourceChanged(sentence, hint="start again to fetch what the revision stands for now")

    def require_trust(self, origin: str) -> None:
        """Raise UntrustedServer if the certificate of a server cannot be verified. Nothing else counts."""
        try:
            self._http.fetch(f"{origin}/", method="HEAD", limit=0, follow=False)
        except UntrustedServer:
            raise
        except DownloadError:
            return

    def close(self) -> None:
        """Nothing to release: connections belong to the run."""

    def _pinned(self) -> str:
        self._commit = self._commit or self.latest()
        return self._commit

    def latest(self) -> str:
        """Ask which commit the revision stands for now."""
        if self._address.is_pinned:
            return self._address.revision
        if self._offline:
            raise self._forbidden()
        self._listing.begin()
        try:
            commit = self._listing.commit()
        except Exception as error:
            raise self._map_exception(error) from error
        if not commit:
            raise ProtocolFailed(f"{host_of(self._endpoint)} does not tell the commit of {self._uri}")
        return commit

    def _forbidden(self) -> ConfigurationError:
        hint = "unset it, or TRANSFORMERS_OFFLINE; it lets nothing pass but a volume that is finished"
        return ConfigurationError(f"HF_HUB_OFFLINE forbids asking for {self._uri}", hint=hint)

    def _files(self, commit: str) -> Iterator[RemoteFile]:
        try:
            self._root = self._listing.root(commit)
            yield from self._listing.files(commit)
        except HttpStatusError as error:
            raise self._not_listed(error, commit) from error
        except Exception as error:
            raise self._map_exception(error) from error

    def _not_listed(self, error: HttpStatusError, commit: str) -> DownloadError:
        """Return the error for a refused page; a commit that vanished meanwhile is resolved again by the next try."""
        vanished = error_code(error) == "RevisionNotFound" and self._answers.is_verdict(error)
        if not vanished or self._address.is_pinned:
            return self._answers.map_status_error(error)
        self._commit = ""
        revision = self._address.revision
        return SourceUnavailable(f"{error.host} names commit {commit} for {revision!r} of {self._uri}, and lacks it")

    def _url(self, path: str) -> str:
        """Return where a file is. Not kept for each: of a hundred thousand files that would be the largest part."""
        return self._root + quote(path)

    def _map_exception(self, error: Exception) -> DownloadError:
        """Map what huggingface_hub raises, beside the errors that are ours already."""
        if isinstance(error, HttpStatusError):
            return self._answers.map_status_error(error)
        if isinstance(error, DownloadError):
            return error
        log.debug("the library stumbled over an answer", exc_info=error)
        return ProtocolFailed(
            f"{host_of(self._endpoint)} answers for {self._uri} {what_it_is(error)}",
            hint="check HF_ENDPOINT, and whether a proxy or a login page answers for it",
        )
