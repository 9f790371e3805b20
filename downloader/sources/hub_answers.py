"""What the Hub's refusals mean, as far as it lets us tell them apart."""

from __future__ import annotations

from downloader.errors import AccessDenied, DownloadError, SourceNotFound

TOKEN_HINT = "set HF_TOKEN to a token with access"  # noqa: S105 - a hint, no secret
BAD_TOKEN = "invalid credentials"  # noqa: S105 - what the Hub says, no secret
UNAUTHORIZED, FORBIDDEN, MISSING = 401, 403, 404


class HubAnswers:
    """The refusals for one repository. A missing one and one that is hidden from us are answered alike."""

    def __init__(self, repository: str, revision: str, *, with_token: bool) -> None:
        self._repository = repository
        self._revision = revision
        self._with_token = with_token

    def meaning(self, status: int, code: str, text: str) -> DownloadError | None:
        """Return the error for `X-Error-Code` and the message; None for what says nothing about the repository."""
        lowered = text.lower()
        if "disabled" in lowered:
            return AccessDenied(f"the repository {self._repository} is disabled by the Hub", hint="ask its owner")
        if BAD_TOKEN in lowered:
            return AccessDenied("the Hub does not accept the token in HF_TOKEN", hint="make a new one")
        by_code = {
            "GatedRepo": self.gated,
            "RevisionNotFound": self._no_revision,
            "EntryNotFound": self._no_entry,
            "RepoNotFound": self._no_repository,
        }
        by_status = {UNAUTHORIZED: self._no_token, FORBIDDEN: self._not_allowed, MISSING: self._no_repository}
        tell = by_code.get(code) or by_status.get(status)
        return tell() if tell else None

    def gated(self) -> AccessDenied:
        """Return the error for a repository whose owner wants to approve each reader."""
        hint = "ask for access on its page, with the account of HF_TOKEN" if self._with_token else TOKEN_HINT
        return AccessDenied(f"{self._repository} is a gated repository that asks for approval", hint=hint)

    def _no_revision(self) -> SourceNotFound:
        what = f"revision {self._revision!r} of {self._repository} does not exist"
        return SourceNotFound(what, hint="check the revision")

    def _no_entry(self) -> SourceNotFound:
        return SourceNotFound(f"{self._repository} lacks that file", hint="check the path and the revision")

    def _no_repository(self) -> SourceNotFound:
        hint = (
            "check the name, and that the token may see it" if self._with_token else f"if it is private, {TOKEN_HINT}"
        )
        return SourceNotFound(f"the Hub has no repository {self._repository} that we may see", hint=hint)

    def _no_token(self) -> AccessDenied:
        return AccessDenied(f"the Hub wants a valid token for {self._repository}", hint=TOKEN_HINT)

    def _not_allowed(self) -> AccessDenied:
        return AccessDenied(f"the token in HF_TOKEN may not read {self._repository}", hint=TOKEN_HINT)
