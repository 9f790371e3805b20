"""Who refused, and what it means: the Hub's own verdict on a repository, or that of a host on the way.

A verdict is the endpoint's own if it comes from the endpoint's address and explains itself as the Hub does, with an
error code or a message. The same status from a content network, a proxy or a gateway says nothing about repository or
token: it is a passing error, which a new address, another try or the next protocol may get around.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from downloader.error_map import ErrorRow, map_error
from downloader.errors import AccessDenied, DownloadError, SourceNotFound, SourceUnavailable
from downloader.network import address, host_of, json_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.network import HttpStatusError

TOKEN_HINT = "set HF_TOKEN to a token with access"  # noqa: S105 - a hint, no secret
ENDPOINT_HINT = "something on the way may have answered for it; check network, proxy and HF_ENDPOINT"
ABOUT_ACCESS = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
)
"""What a stranger answers where an address has run out, is blocked, or is not known to it."""
TOKENS_AND_LOGINS = frozenset({"basic", "bearer"})
"""Schemes of authentication that the Hub uses. Negotiate or NTLM is asked for by a proxy in front of it."""
SAYS_NOTHING = re.compile(
    r"(repository|entry|revision|page)? ?not found|invalid rev id: \S*|invalid username or password"
    r"|access to this resource is disabled|\S* does not exist on this revision",
    re.IGNORECASE,
)
"""What the Hub says of the usual cases, which is no more than what we say."""

GATED = (
    (re.compile(r"awaiting|pending", re.IGNORECASE), "wait until its owners grant the request, then start again"),
    (re.compile(r"rejected|denied", re.IGNORECASE), "only its owners can change that; another account may have access"),
    (re.compile(r"fine-grained", re.IGNORECASE), "change the token's permissions, or use a token of the kind read"),
)
"""What can be done about a gate, by what the Hub says of it."""
SHORT_COMMIT = re.compile(r"[0-9a-f]{7,39}")
OF_A_COMMIT = "check the revision; a commit is written with all of its 40 digits"
OF_A_REVISION = "check the revision; a slash in it is written as %2F"
TOKEN_REJECTED = re.compile(r"invalid credentials|token\b.*\b(expired|revoked|invalid)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the rows of the table look at."""

    error: HttpStatusError
    code: str
    """The Hub's word for the kind of error; empty where it gives none."""
    with_token: bool
    listed: bool

    @property
    def status(self) -> int:
        return self.error.status

    @property
    def is_no_repository(self) -> bool:
        return self.code == "RepoNotFound" or self.status == HTTPStatus.NOT_FOUND

    @property
    def says_more(self) -> bool:
        """The server says more than we say ourselves."""
        return bool(_told(self.error))


_NO_REPOSITORY = "{host} has no repository {repository} that we may see{told}"
_NOT_ALLOWED = "{host} refuses to hand out {what} (HTTP {status}){told}"
_VERDICTS: tuple[ErrorRow[_Verdict, DownloadError], ...] = (
    ErrorRow(
        lambda it: it.status == HTTPStatus.FORBIDDEN and "disabled" in it.error.server_message.lower(),
        AccessDenied,
        "{host} has disabled the repository {repository}",
        "ask its owner",
    ),
    # The Hub checks the token first, so whatever code comes with it says nothing of the repository.
    ErrorRow(
        lambda it: it.with_token and TOKEN_REJECTED.search(it.error.server_message) is not None,
        AccessDenied,
        "{host} does not accept the token in {place}{told}",
        "make a new one in the account's settings",
    ),
    ErrorRow(
        lambda it: it.code == "GatedRepo",
        AccessDenied,
        "{repository} is a gated repository{told_by_host}",
        "{gate_hint}",
    ),
    ErrorRow(
        lambda it: it.code == "RevisionNotFound",
        SourceNotFound,
        "revision {revision!r} of {repository} does not exist on {host}",
        "{revision_hint}",
    ),
    ErrorRow(
        lambda it: it.code == "EntryNotFound",
        SourceNotFound,
        "{repository} at {revision!r} lacks {path}, says {host}",
        "check the path and the revision",
    ),
    # It was there a moment ago: one of the Hub's nodes does not know it yet, or any more.
    ErrorRow(
        lambda it: it.is_no_repository and it.listed,
        SourceUnavailable,
        "{host} does not know {what} although it has listed it (HTTP {status}){told}",
    ),
    # The Hub answers alike for a repository that is missing and one that is hidden from us.
    ErrorRow(
        lambda it: it.is_no_repository and it.with_token,
        SourceNotFound,
        _NO_REPOSITORY,
        "check the name, and that the token may see it",
    ),
    ErrorRow(lambda it: it.is_no_repository, SourceNotFound, _NO_REPOSITORY, "if it is private, {token_hint}"),
    # A token changes nothing about a bill or a court's order.
    ErrorRow(
        lambda it: it.status in (HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS),
        AccessDenied,
        _NOT_ALLOWED,
    ),
    ErrorRow(
        lambda it: it.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and it.with_token and it.says_more,
        AccessDenied,
        _NOT_ALLOWED,
    ),
    ErrorRow(
        lambda it: it.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN),
        AccessDenied,
        _NOT_ALLOWED,
        "{token_hint}",
    ),
)
"""What the Hub itself says. Its code counts more than the status, which is often 401 for what does not exist."""


class HubAnswers:
    """Maps the error responses for one repository."""

    def __init__(
        self,
        repository: str,
        revision: str,
        endpoint: str,
        *,
        with_token: bool,
        token_places: Sequence[str] = ("HF_TOKEN",),
    ) -> None:
        """`token_places` are where a token was looked for; the last one has it, if there is one."""
        self._repository = repository
        self._revision = revision
        self._endpoint = endpoint
        self._with_token = with_token
        self._place = token_places[-1]
        unset = "" if self._place == "HF_TOKEN" else f"; {self._place} has none"
        self._token_hint = TOKEN_HINT + (unset if not with_token else "")
        self.listed = False
        """The repository was listed, so what is refused from then on is not for want of it."""

    def map_status_error(self, error: HttpStatusError, what: str = "") -> DownloadError:
        """Return what an error status means; the error itself where it means nothing more.

        `what` names the file, if one was asked for.
        """
        if not self.is_verdict(error):
            return self._map_foreign(error, what)
        ours = map_error(
            _VERDICTS,
            _Verdict(error, error_code(error), self._with_token, self.listed),
            host=error.host,
            status=error.status,
            repository=self._repository,
            revision=self._revision,
            revision_hint=OF_A_COMMIT if SHORT_COMMIT.fullmatch(self._revision) else OF_A_REVISION,
            what=what or self._repository,
            path=what or "that path",
            place=self._place,
            told=_told(error),
            told_by_host=_told(error, by=error.host),
            token_hint=self._token_hint,
            gate_hint=self._gate_hint(error.server_message),
        )
        return ours or error

    def is_verdict(self, error: HttpStatusError) -> bool:
        """Tell whether it was the Hub that refused, and not a host on the way to it or behind it."""
        if not address(self._endpoint).origin.shares_credentials_with(address(error.url).origin):
            return False
        told = error_code(error) or error.headers.get("x-error-message") or json_error(error.body)
        wanted = error.headers.get("www-authenticate", "") if error.status == HTTPStatus.UNAUTHORIZED else ""
        return bool(told) or any(word.lower() in TOKENS_AND_LOGINS for word in wanted.split())

    def masked(self) -> AccessDenied:
        """Return the error for a gated repository whose digests are masked for those who may not read it."""
        return AccessDenied(f"{self._repository} is a gated repository", hint=self._gate_hint(""))

    def _map_foreign(self, error: HttpStatusError, what: str) -> DownloadError:
        """Return what a status means that is not the Hub's own: it says nothing of repository or token."""
        if error.status not in ABOUT_ACCESS:
            return error
        sentence = f"{error.host} refused {what or self._repository} (HTTP {error.status}){_told(error)}"
        return SourceUnavailable(sentence, hint=ENDPOINT_HINT if error.host == host_of(self._endpoint) else "")

    def _gate_hint(self, told: str) -> str:
        if not self._with_token:
            return f"ask for access on its page, then {self._token_hint}"
        usual = f"ask for access on its page, with the account of {self._place}"
        return next((hint for pattern, hint in GATED if pattern.search(told)), usual)


def error_code(error: HttpStatusError) -> str:
    """Return the Hub's word for the kind of error; empty where it gives none."""
    return error.headers.get("x-error-code", "")


def _told(error: HttpStatusError, by: str = "") -> str:
    """Return what the server says beyond what we say ourselves, as the end of a sentence."""
    told = error.server_message
    if not told or SAYS_NOTHING.fullmatch(told):
        return ""
    return f", says {by}: {told}" if by else f": {told}"
