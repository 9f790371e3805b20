"""The artifact digest: one value for all files of an artifact, wherever they came from and however they are stored.

It is the sha256 of the lines of a checksum file without comments: for each file the 64 hexadecimal digits of its
sha256, two spaces, its path and a line feed, in UTF-8, sorted as bytes. A path with a backslash, a line feed or a
carriage return is escaped as sha256sum(1) does it, with a backslash before the line. So where a folder holds one
artifact, this prints the same 64 digits:

    grep -v '^#' .artifact.sha256 | LC_ALL=C sort | sha256sum
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

from downloader.integrity.checksum_lines import line_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "sha256:"


def artifact_digest(files: Mapping[str, str]) -> str:
    """Return `sha256:` and 64 hexadecimal digits for path → sha256 of each file."""
    # In groups that begin with the same two characters: the lines of a million files would take 160 MB.
    groups: dict[str, list[str]] = defaultdict(list)
    for path, sha256 in files.items():
        groups[line_of(sha256, path)[:2]].append(path)
    content = hashlib.sha256()
    for start in sorted(groups):
        # Without its line feed, as sort(1) compares: a path may have characters that are less than it.
        for line in sorted(line_of(files[path], path).encode()[:-1] for path in groups[start]):
            content.update(line)
            content.update(b"\n")
    return PREFIX + content.hexdigest()
