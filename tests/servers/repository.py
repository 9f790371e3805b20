"""Repositories of the Hub double: commits, branches and tags over files as git, LFS or Xet would keep them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.servers.blobs import Blob, Noise, Shelf

_LARGE_NAMES = (
    ".safetensors",
    ".bin",
    ".gguf",
    ".pt",
    ".pth",
    ".onnx",
    ".parquet",
    ".zip",
    ".tar.gz",
    ".h5",
    ".msgpack",
)
_LARGE_BYTES = 10 << 20


class Kind(StrEnum):
    """What a repository holds."""

    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"


class Storage(StrEnum):
    """Where the Hub keeps a file's content."""

    GIT = "git"
    LFS = "lfs"
    XET = "xet"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One version of one file."""

    path: str
    blob: Blob
    oid: str
    """The git object: of the content, or of the LFS pointer."""
    pointer_size: int = 0
    sha256: str | None = None
    """None where git itself keeps the file."""
    xet_hash: str | None = None

    @property
    def etag(self) -> str:
        """What the Hub publishes of the content."""
        return self.sha256 or self.oid


def git_oid(content: bytes) -> str:
    """Return the name that git gives to a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - git's choice


@dataclass
class Repository:
    """One repository. Its switches may be turned at any time."""

    kind: Kind
    name: str
    shelf: Shelf
    store_in_xet: Callable[[Blob], str]
    private: bool = False
    """Only members can see it."""
    gated: bool = False
    """Only members can read its files; all users can list them."""
    disabled: bool = False
    card: Mapping[str, object] = field(default_factory=dict)
    """The head of its README: licence, base model."""
    members: set[str] = field(default_factory=set)
    """The users who were granted access."""
    commits: dict[str, dict[str, StoredFile]] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    """Full names (`refs/heads/main`, `refs/tags/v1`, `refs/pr/1`) and the commits they name."""

    def commit(
        self,
        files: Mapping[str, bytes | Noise | None],
        *,
        reference: str = "refs/heads/main",
        storage: Storage | None = None,
    ) -> str:
        """Add or replace files (None removes one) and return the new commit's sha.

        Where files go is decided by their names and sizes, large ones to Xet, unless `storage` says it for all.
        """
        parent = self.references.get(reference, "")
        tree = dict(self.commits.get(parent, {}))
        for path, content in files.items():
            tree.pop(path, None)
            if content is not None:
                tree[path] = self._keep(path, content, storage)
        tree = dict(sorted(tree.items()))
        listing = "\n".join(f"{file.oid} {path}" for path, file in tree.items())
        sha = hashlib.sha1(f"{self.kind} {self.name} {parent} {len(self.commits)}\n{listing}".encode()).hexdigest()  # noqa: S324
        self.commits[sha] = tree
        self.references[reference] = sha
        return sha

    def tag(self, name: str, sha: str) -> None:
        """Give a commit a name of its own."""
        self.references[f"refs/tags/{name}"] = sha

    def resolve(self, revision: str) -> str | None:
        """Return the commit that a branch, a tag, a full reference or a sha names."""
        if revision in self.commits:
            return revision
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
        return next((self.references[name] for name in names if name in self.references), None)

    def _keep(self, path: str, content: bytes | Noise, storage: Storage | None) -> StoredFile:
        blob = self.shelf.put(content)
        if storage is None:
            large = path.endswith(_LARGE_NAMES) or blob.size > _LARGE_BYTES
            storage = Storage.XET if large else Storage.GIT
        if storage is Storage.GIT:
            return StoredFile(path, blob, git_oid(blob.read()))
        digest = hashlib.sha256()
        for piece in blob.pieces():
            digest.update(piece)
        sha256 = digest.hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {blob.size}\n".encode()
        xet_hash = self.store_in_xet(blob) if storage is Storage.XET else None
        return StoredFile(path, blob, git_oid(pointer), len(pointer), sha256, xet_hash)
