"""What a team has signed off, as the environment and the command line name it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from downloader.artifact import shown_url
from downloader.config.env import Malformed

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ExpectedList:
    """Where the list of the files is: a path, or a URI of any scheme."""

    text: str = field(repr=False)
    """As it was given. It may hold secrets."""

    @property
    def is_uri(self) -> bool:
        """Whether it is a URI."""
        return "://" in self.text

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that the redactor has to remove: login, token and signature of a URI."""
        if not self.is_uri:
            return ()
        login, at, _ = self.text.partition("://")[2].partition("/")[0].rpartition("@")
        user, colon, password = login.partition(":")
        try:
            query = urlsplit(self.text).query
        except ValueError:  # it will be refused when it is parsed
            query = ""
        signed = (part for part in query.split("&") if "sig" in part.lower() or "token" in part.lower())
        return (*([password if colon else user] if at else []), *(part.partition("=")[2] for part in signed))

    def __str__(self) -> str:
        return shown_url(self.text)


def artifact_digest(text: str) -> str:
    """Parse AIM_EXPECTED_DIGEST."""
    digest = text.lower()
    if not _DIGEST.fullmatch(digest):
        raise Malformed("`sha256:` and 64 hexadecimal digits")
    return digest


def expected_list(text: str) -> ExpectedList:
    """Parse AIM_EXPECTED_LIST."""
    if not text.strip() or "\0" in text:
        raise Malformed("a file or a URI")
    return ExpectedList(text.strip())
