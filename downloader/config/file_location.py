"""Files that a run reads besides the artifact, as the environment and the command line name them."""

from __future__ import annotations

from dataclasses import dataclass, field

from downloader.artifact import shown_url
from downloader.config.addresses import uri_secrets
from downloader.config.env import Malformed


@dataclass(frozen=True, slots=True)
class FileLocation:
    """Where a file is that a run reads besides the artifact: a path, or a URI of any scheme."""

    text: str = field(repr=False)
    """As it was given. It may hold secrets."""

    @property
    def is_uri(self) -> bool:
        """Whether it is a URI."""
        return "://" in self.text

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that the redactor has to remove: login, token and signature of a URI."""
        return uri_secrets(self.text) if self.is_uri else ()

    def __str__(self) -> str:
        return shown_url(self.text)


def file_location(text: str) -> FileLocation:
    """Parse AIM_EXPECTED_LIST and AIM_SIGNATURE_URI."""
    if not text.strip() or "\0" in text:
        raise Malformed("a file or a URI")
    return FileLocation(text.strip())
