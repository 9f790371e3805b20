"""Who refused, and what it means: the Hub's own verdict on a repository, or somebody on the way.

A verdict is the endpoint's own if it comes from the endpoint's address and explains itself as the Hub does, with an
error code or a message. The same status from a content network, a proxy or a gateway says nothing about repository or
token: it is passing trouble, which a new address, another try or the next protocol may get around.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from downloader.errors import AccessDenied, DownloadError, SourceNotFound, SourceUnavailable
from downloader.network import address, host_of, json_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.network import HttpStatusError

TOKEN_HINT = "set HF_TOKEN to a token with access"  # noqa: S105 - a hint, no secret
ENDPOINT_HINT = "something on the way may have answered for it; check network, proxy and HF_ENDPOINT"
ABOUT_ACCESS = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
)
"""What a stranger answers where an address has run out, is blocked, or is not known to it."""
TOKENS_AND_LOGINS = frozenset({"basic", "bearer"})
"""What an endpoint may ask for that is ours to give; who wants a Negotiate or NTLM stands in front of it."""
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
TOKEN_TROUBLE = re.compile(r"invalid credentials|token\b.*\b(expired|revoked|invalid)", re.IGNORECASE)


class HubAnswers:
    """The refusals for one repository. A missing one and one that is hidden from us are answered alike."""

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

    def meaning(self, refusal: HttpStatusError, what: str = "") -> DownloadError:
        """Return the error for a refused request; `what` names the file, if it was for one."""
        if not self.is_verdict(refusal):
            return self._somebody_elses(refusal, what)
        if refusal.status == HTTPStatus.FORBIDDEN and "disabled" in refusal.server_message.lower():
            return AccessDenied(f"{refusal.host} has disabled the repository {self._repository}", hint="ask its owner")
        if self._with_token and TOKEN_TROUBLE.search(refusal.server_message):
            return self._bad_token(refusal)
        by_code: dict[str, Callable[[HttpStatusError, str], DownloadError]] = {
            "GatedRepo": self._gated,
            "RevisionNotFound": self._no_revision,
            "EntryNotFound": self._no_entry,
            "RepoNotFound": self._no_repository,
        }
        by_status: dict[int, Callable[[HttpStatusError, str], DownloadError]] = {
            HTTPStatus.UNAUTHORIZED: self._not_allowed,
            HTTPStatus.PAYMENT_REQUIRED: self._not_allowed,
            HTTPStatus.FORBIDDEN: self._not_allowed,
            HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: self._not_allowed,
            HTTPStatus.NOT_FOUND: self._no_repository,
        }
        tell = by_code.get(error_code(refusal)) or by_status.get(refusal.status)
        return tell(refusal, what) if tell else refusal

    def is_verdict(self, refusal: HttpStatusError) -> bool:
        """Tell whether it was the Hub that refused, and not somebody on the way to it or behind it."""
        if not address(self._endpoint).origin.shares_credentials_with(address(refusal.url).origin):
            return False
        told = error_code(refusal) or refusal.headers.get("x-error-message") or json_error(refusal.body)
        wanted = refusal.headers.get("www-authenticate", "") if refusal.status == HTTPStatus.UNAUTHORIZED else ""
        return bool(told) or any(word.lower() in TOKENS_AND_LOGINS for word in wanted.split())

    def masked(self) -> AccessDenied:
        """Return the error for a gated repository whose digests are masked for those who may not read it."""
        return AccessDenied(f"{self._repository} is a gated repository", hint=self._gate_hint(""))

    def _somebody_elses(self, refusal: HttpStatusError, what: str) -> DownloadError:
        if refusal.status not in ABOUT_ACCESS:
            return refusal
        told = _told(refusal)
        sentence = f"{refusal.host} refused {what or self._repository} (HTTP {refusal.status}){told}"
        own = refusal.host == host_of(self._endpoint)
        return SourceUnavailable(sentence, hint=ENDPOINT_HINT if own else "")

    def _bad_token(self, refusal: HttpStatusError, _: str = "") -> AccessDenied:
        sentence = f"{refusal.host} does not accept the token in {self._place}{_told(refusal)}"
        return AccessDenied(sentence, hint="make a new one in the account's settings")

    def _gated(self, refusal: HttpStatusError, _: str) -> AccessDenied:
        hint = self._gate_hint(refusal.server_message)
        return AccessDenied(f"{self._repository} is a gated repository{_told(refusal, by=refusal.host)}", hint=hint)

    def _gate_hint(self, told: str) -> str:
        if not self._with_token:
            return f"ask for access on its page, then {self._token_hint}"
        usual = f"ask for access on its page, with the account of {self._place}"
        return next((hint for pattern, hint in GATED if pattern.search(told)), usual)

    def _no_revision(self, refusal: HttpStatusError, _: str) -> SourceNotFound:
        what = f"revision {self._revision!r} of {self._repository} does not exist on {refusal.host}"
        return SourceNotFound(what, hint="check the revision")

    def _no_entry(self, refusal: HttpStatusError, what: str) -> SourceNotFound:
        sentence = f"{self._repository} at {self._revision!r} lacks {what or 'that path'}, says {refusal.host}"
        return SourceNotFound(sentence, hint="check the path and the revision")

    def _no_repository(self, refusal: HttpStatusError, what: str) -> DownloadError:
        if self.listed:
            return SourceUnavailable(
                f"{refusal.host} does not know {what or self._repository} although it has listed it"
                f" (HTTP {refusal.status}){_told(refusal)}"
            )
        hint = f"if it is private, {self._token_hint}"
        if self._with_token:
            hint = "check the name, and that the token may see it"
        sentence = f"{refusal.host} has no repository {self._repository} that we may see{_told(refusal)}"
        return SourceNotFound(sentence, hint=hint)

    def _not_allowed(self, refusal: HttpStatusError, what: str) -> AccessDenied:
        hint = "" if self._with_token and _told(refusal) else self._token_hint
        if refusal.status in (HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS):
            hint = ""
        sentence = f"{refusal.host} refuses to hand out {what or self._repository} (HTTP {refusal.status})"
        return AccessDenied(sentence + _told(refusal), hint=hint)


def error_code(refusal: HttpStatusError) -> str:
    """Return the Hub's word for the kind of refusal; empty where it gives none."""
    return refusal.headers.get("x-error-code", "")


def _told(refusal: HttpStatusError, by: str = "") -> str:
    """Return what the server says beyond what we say ourselves, as the end of a sentence."""
    told = refusal.server_message
    if not told or SAYS_NOTHING.fullmatch(told):
        return ""
    return f", says {by}: {told}" if by else f": {told}"
