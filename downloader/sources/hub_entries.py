"""Files as the Hub, a mirror or a repository manager describes them: in a tree, as siblings, in a head."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from downloader.artifact import MAX_SIZE, Algorithm, Digest, Mismatch, RemoteFile
from downloader.errors import ProtocolFailed
from downloader.integrity import is_hexadecimal
from downloader.network import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from downloader.errors import DownloadError

ALGORITHMS = (Algorithm.GIT_SHA1, Algorithm.SHA256)
"""Those of the Hub: of what lies in Git itself, and of what lies in LFS or Xet."""
PREFIX = re.compile(r"(?:git-)?sha[0-9]+:")
"""What some servers write before a digest to say of which kind it is."""
MAX_SHOWN = 80


class Entries:
    """Turns descriptions into files. Each method raises ProtocolFailed for one that lacks what every file has."""

    def __init__(self, uri: str, masked: Callable[[], DownloadError]) -> None:
        """`masked` returns the error for digests that are asterisks: the Hub hides them from users without access."""
        self._uri = uri
        self._masked = masked

    def listed(self, path: str, item: Mapping[str, Any]) -> RemoteFile:
        """Return the file of an entry of a tree or of a sibling, which are named a little differently."""
        lfs = item.get("lfs")
        size = item.get("size")
        if isinstance(lfs, dict):
            size = lfs.get("size", size)  # some servers tell beside it the size of the pointer to it
            digest = self._digest(path, Algorithm.SHA256, lfs.get("oid", lfs.get("sha256")))
        else:
            digest = self._digest(path, Algorithm.GIT_SHA1, item.get("oid", item.get("blobId")))
        return RemoteFile(path, self._size(path, size), (digest,), xet_hash=_xet_hash(item.get("xetHash")))

    def linked(self, path: str, headers: Mapping[str, str]) -> RemoteFile | None:
        """Return the file that the Hub's own fields in a head describe; None where they are not all there."""
        tag, size = _bare(headers.get("x-linked-etag")), headers.get("x-linked-size", "")
        algorithm = next((algorithm for algorithm in ALGORITHMS if is_hexadecimal(algorithm, tag)), None)
        if algorithm is None or not is_number(size):
            return None
        xet_hash = _xet_hash(headers.get("x-xet-hash"))
        return RemoteFile(path, int(size), (Digest(algorithm, tag),), xet_hash=xet_hash)

    def served(self, path: str, commit: str, headers: Mapping[str, str], size: int | None) -> RemoteFile:
        """Return the file by what any server says of it; the commit in its address pins it.

        Its entity tag may be a digest of the content or of anything else, so that it can only prove something if it is
        right. Some repository managers name a digest that is meant as one.
        """
        digests = []
        named = _bare(headers.get("x-checksum-sha256"))
        if is_hexadecimal(Algorithm.SHA256, named):
            digests.append(Digest(Algorithm.SHA256, named))
        tag = _bare(headers.get("etag"))
        for algorithm in ALGORITHMS:
            if is_hexadecimal(algorithm, tag) and not digests:
                digests.append(Digest(algorithm, tag, mismatch=Mismatch.NOTHING))
        return RemoteFile(path, self._size(path, size), tuple(digests), version=commit)

    def _size(self, path: str, size: object) -> int:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_SIZE:
            raise ProtocolFailed(f"the Hub does not tell the size of {path[:MAX_SHOWN]!r} in {self._uri}")
        return size

    def _digest(self, path: str, algorithm: Algorithm, value: object) -> Digest:
        digest = _bare(value)
        if is_hexadecimal(algorithm, digest):
            return Digest(algorithm, digest)
        if digest and set(digest) == {"*"}:
            raise self._masked()
        raise ProtocolFailed(f"the Hub does not tell a digest of {path[:MAX_SHOWN]!r} in {self._uri}")


def _bare(value: object) -> str:
    """Return a digest as it is written here: without quotes, without its kind, in lower case; empty if malformed."""
    if not isinstance(value, str):
        return ""
    return PREFIX.sub("", value.strip().removeprefix("W/").strip('"').lower(), count=1)


def _xet_hash(value: object) -> str | None:
    return value if isinstance(value, str) and is_hexadecimal(Algorithm.SHA256, value) else None
