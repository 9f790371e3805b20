"""What a `file://` URI names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from downloader.errors import UsageError
from downloader.sources.paths import CONTROL, STEPS

HOSTS = frozenset({"", "localhost"})
FORM = "write file:///folder, with the whole path"


@dataclass(frozen=True, slots=True)
class FileAddress:
    """`file:///folder` or `file:///folder/file`, percent-encoded like any URI: `%25` is a percent sign."""

    path: str
    """Absolute, decoded, without slashes at its end."""

    @classmethod
    def parse(cls, uri: str) -> FileAddress:
        """Raise UsageError for a relative path, another host, and what no path can have."""
        host, slash, rest = uri.partition("://")[2].partition("/")
        if host.lower() not in HOSTS:
            raise UsageError(
                f"{uri!r} names the host {host[:80]!r}, and files are read from this machine only", hint=FORM
            )
        if "?" in rest or "#" in rest:
            raise UsageError(f"{uri!r} has a query or a fragment", hint="in a name, write %3F for ? and %23 for #")
        try:
            path = unquote(rest, errors="strict")
        except UnicodeDecodeError:
            raise UsageError(f"{uri!r} is not UTF-8 once it is decoded", hint=FORM) from None
        parts = [part for part in path.split("/") if part]
        if not slash or not parts:
            raise UsageError(f"{uri!r} names no folder", hint=FORM)
        if not STEPS.isdisjoint(parts) or CONTROL.search(path):
            raise UsageError(f"{uri!r} has '.', '..' or a control character in its path", hint=FORM)
        return cls("/" + "/".join(parts))

    @property
    def uri(self) -> str:
        """The one URI of this path: others differ in slashes, or in what they encode."""
        return f"file://{quote(self.path)}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return Path(self.path).name
