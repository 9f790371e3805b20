"""Archives: an artifact whose only file is one is unpacked where KServe asks for it.

An archive comes from anywhere, so it is judged as a whole before its first byte is unpacked, and nothing in it decides
more than names and bytes below the target: no links, no devices, no modes, no owners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from downloader.artifact import Manifest, RemoteFile
    from downloader.filesystem import Kind

ZIP = ".zip"
SUFFIXES = (".tar", ".tar.gz", ".tgz", ZIP)
"""How the names of archives end, in any case of letters."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in an archive."""

    path: str
    """Where it goes, relative to the target: without `.` and empty parts, else as the archive has it."""
    kind: Kind
    size: int = 0
    """Bytes of a file."""
    link: str = ""
    """Of a link: the path in the archive whose content it stands for."""


class Refused(Exception):
    """It could be unpacked, but is not; the text says why. Raised where nobody knows the archive's name."""


def only_archive(manifest: Manifest) -> RemoteFile | None:
    """Return the archive that is all of this artifact; None if it is anything else."""
    if len(manifest.files) != 1 or not manifest.files[0].path.lower().endswith(SUFFIXES):
        return None
    return manifest.files[0]


def refusal(name: str, problem: str) -> ConfigurationError:
    """Return the error for an archive that could be unpacked, but is not."""
    return ConfigurationError(f"the archive {name} is refused: {problem}", hint="make it anew without that")


def tidy(path: str) -> str:
    """Return a path without `.` and empty parts. One that is absolute stays so, and `..` stays what it is."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts)


def linked(link: str, target: str) -> str:
    """Return the path that a symlink at `link` stands for, within the archive; absolute if it leads out of it."""
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
