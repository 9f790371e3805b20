"""What the formats have in common: an archive's entries, their paths, and the errors of archives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from downloader.artifact import Manifest, RemoteFile
    from downloader.filesystem import Kind

ZIP = ".zip"
SUFFIXES = (".tar", ".tar.gz", ".tgz", ZIP)
"""How the names of archives end, in upper or lower case."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of an archive."""

    path: str
    """Its path relative to the target: without `.` and empty parts, otherwise as the archive has it."""
    kind: Kind
    size: int = 0
    """Bytes of a file."""
    link: str = ""
    """Of a link: the path in the archive that it points to."""


class ArchiveRejected(Exception):
    """The archive could be unpacked, but must not be; the text says why. Raised where its name is not known."""


def only_archive(manifest: Manifest) -> RemoteFile | None:
    """Return the archive that is the only file of this artifact; None for other artifacts."""
    if len(manifest.files) != 1 or not manifest.files[0].path.lower().endswith(SUFFIXES):
        return None
    return manifest.files[0]


def archive_rejected(name: str, problem: str) -> ConfigurationError:
    """Return the error for an archive that could be unpacked, but must not be."""
    return ConfigurationError(f"the archive {name} is refused: {problem}", hint="make it again without that")


def normalize_path(path: str) -> str:
    """Return a path without `.` and empty parts. An absolute path stays absolute, and `..` is kept."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts)


def resolve_link(link: str, target: str) -> str:
    """Return the path in the archive that a symlink at `link` points to; absolute if it leads out of the archive."""
    if target.startswith("/"):
        return target
    parts = link.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            if not parts:
                return f"/{target}"
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
