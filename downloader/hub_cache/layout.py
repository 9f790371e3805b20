"""Where things are in the folder of a repository. The names are those of `huggingface_hub` (`file_download.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.errors import ProtocolFailed

if TYPE_CHECKING:
    from downloader.artifact import RemoteFile
    from downloader.sources.hub_address import HubAddress

BLOBS, SNAPSHOTS, REFS = "blobs", "snapshots", "refs"
_SEPARATOR = "--"


@dataclass(frozen=True, slots=True)
class RepositoryLayout:
    """The names of one repository and one revision of it."""

    folder: str
    """The folder of the repository in the cache."""
    reference: str
    """The file that says which commit the revision is; empty for a revision that is a commit."""
    commit: str
    """The commit, if that is what is named; else empty."""
    below: str
    """The file or folder of the repository that is named; empty for all of it."""
    whole: str
    """The URI of the repository, at any revision."""

    @classmethod
    def of(cls, address: HubAddress) -> RepositoryLayout:
        """Return the layout for what an `hf://` URI names."""
        folder = _SEPARATOR.join([f"{address.kind}s", *address.repository.split("/")])
        pinned = address.is_pinned
        return cls(
            folder,
            "" if pinned else f"{REFS}/{address.revision}",
            address.revision if pinned else "",
            address.folder,
            address.whole,
        )


def blob_path(file: RemoteFile) -> str:
    """Return where the bytes of a file are: below its entity tag, which the Hub makes of its digest.

    Raises ProtocolFailed if the server publishes no digest of it.
    """
    published = [digest.value for digest in file.digests if not digest.expected]
    if not published:
        raise ProtocolFailed(
            f"the server gives no digest of {file.path}, from which a cache of the Hub's library names its bytes",
            hint="download into a plain folder, without --hub-cache",
        )
    return f"{BLOBS}/{published[0]}"


def snapshot_path(commit: str, path: str) -> str:
    """Return where a file is found by its name."""
    return f"{SNAPSHOTS}/{commit}/{path}"


def link_text(path: str, blob: str) -> str:
    """Return the text of the symlink at a path of a snapshot that leads to a blob."""
    return "../" * (2 + path.count("/")) + blob
