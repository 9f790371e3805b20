"""What an `hf://` URI names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from downloader.artifact import is_within
from downloader.errors import UsageError
from downloader.sources.paths import CONTROL, NOT_NAMES

GRAMMAR = re.compile(
    r"hf://(?:(?P<kind>models|datasets|spaces)/)?"
    r"(?P<repository>[^/@:]++(?:/[^/@:]++)?+)"
    r"(?:[@:](?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+))?"
    r"(?:/(?P<folder>.*))?"
)
PAGE = re.compile(
    r"hf://(?=(?:www\.)?(?:huggingface\.co|hf\.co)/|.*/(?:blob|tree|resolve|raw)/(?:main|[0-9a-f]{40})(?:/|$))"
    r"(?:(?:www\.)?(?:huggingface\.co|hf\.co)/)?(?P<kind>(?:datasets|spaces)/)?(?P<repository>[^/@:]+/[^/@:]+)"
    r"(?:/(?:blob|tree|resolve|raw)/(?P<revision>[^/]+)(?P<path>/.*)?)?/?"
)
"""The address of a page of the Hub behind `hf://`: with the Hub's own host, or with a page's route to a revision."""
PAGE_PATH = re.compile(
    r"/(?P<kind>datasets/|spaces/)?(?P<repository>[\w.-]+/[\w.-]+)"
    r"(?:/(?:blob|tree|resolve|raw)/(?P<revision>[^/]+)(?P<path>/.*)?)?/?"
)
"""The path of a page about a repository or a file, on the Hub's host or on that of a mirror."""
COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_URI = "hf://"
DEFAULT = "main"
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True, slots=True)
class HubAddress:
    """`hf://[datasets/|spaces/]org/name[@revision | :revision][/sub/path]`; old models have a name of one part.

    Revision and path may be percent-encoded, as in any URI: `%25` is a percent sign.
    """

    kind: str
    repository: str
    revision: str
    folder: str

    @classmethod
    def parse(cls, uri: str) -> HubAddress:
        """Raise UsageError for anything else."""
        page = PAGE.fullmatch(uri)
        if page is not None:
            raise UsageError(f"{uri!r} is the address of a page", hint=f"write {_uri_of(page)}")
        match = GRAMMAR.fullmatch(uri)
        found = match.groupdict() if match else {}
        names = (found.get("repository") or "").split("/")
        revision, folder = _decoded(found.get("revision") or DEFAULT), _decoded(found.get("folder") or "")
        folder = folder and folder.strip("/")
        unsafe = _is_unsafe(revision) or (folder != "" and _is_unsafe(folder))
        if unsafe or not all(PART.fullmatch(name) and ".." not in name for name in names):
            raise UsageError(
                f"{uri!r} does not name a repository on the Hub",
                hint="write hf://org/name, hf://org/name@revision or hf://org/name/sub/path",
            )
        kind = (found.get("kind") or "models").removesuffix("s")
        return cls(kind, "/".join(names), revision or "", folder or "")

    @property
    def whole(self) -> str:
        """The URI of the repository, at any revision."""
        return f"hf://{self.repository}" if self.kind == "model" else f"hf://{self.kind}s/{self.repository}"

    @property
    def is_default(self) -> bool:
        """No revision is named, or the one that is meant then."""
        return self.revision == DEFAULT

    @property
    def is_pinned(self) -> bool:
        """The revision is a commit in full: that cannot stand for another one later."""
        return COMMIT.fullmatch(self.revision) is not None

    def wants(self, path: str) -> bool:
        """Tell whether a file is what is named, or below it."""
        return is_within(path, self.folder)


def uri_of_page(path: str) -> str | None:
    """Return the `hf://` URI of what the page at this path of a host shows; None if it is not a page of a Hub's."""
    page = PAGE_PATH.fullmatch(path)
    return _uri_of(page) if page else None


def _uri_of(page: re.Match[str]) -> str:
    """Return the URI of what a page shows."""
    kind, repository, revision, path = page.group("kind", "repository", "revision", "path")
    at = f"@{revision}" if revision not in (None, "main") else ""
    return f"hf://{kind or ''}{repository}{at}{(path or '').rstrip('/')}"


def _decoded(text: str) -> str | None:
    """Return a part of a URI without its percent-encoding; None if that is not text."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None


def _is_unsafe(path: str | None) -> bool:
    return path is None or not NOT_NAMES.isdisjoint(path.split("/")) or CONTROL.search(path) is not None
