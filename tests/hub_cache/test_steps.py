"""A run that ends after any step of its last one: a reader finds a whole revision or none, and the next run goes on."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile
from downloader.errors import VolumeError
from downloader.filters import FileFilter
from downloader.hub_cache import CacheDisk, CachedRepository, RepositoryLayout
from downloader.hub_cache import repository as module
from downloader.integrity import Expectation
from downloader.sources.hub_address import HubAddress
from downloader.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from downloader.artifact import Span
    from downloader.sources import Body

OLD, NEW = "a" * 40, "b" * 40
FILES = {
    OLD: {"config.json": b"old", "same": b"same", "sub/x/one": b"1"},
    NEW: {"config.json": b"new", "same": b"same", "sub/x/two": b"2"},
}
STEPS = ("symlink", "rename", "make_folder", "create", "write", "sync", "sync_folder")


class Killed(Exception):
    """The process ends here."""


class Dying(CacheDisk):
    """A disk on which the process is killed before one of its steps."""

    left = 0


def _counted(name: str) -> Callable[..., Any]:
    def step(self: Dying, *arguments: Any) -> Any:
        Dying.left -= 1
        if Dying.left == 0:
            raise Killed
        return getattr(CacheDisk, name)(self, *arguments)

    return step


for _name in STEPS:
    setattr(Dying, _name, _counted(_name))


class Listing:
    """A source that lists one commit."""

    def __init__(self, commit: str) -> None:
        self._commit = commit

    def version(self) -> str | None:
        return self._commit

    def manifest(self) -> Manifest:
        files = tuple(
            RemoteFile(path, len(content), (Digest(Algorithm.SHA256, hashlib.sha256(content).hexdigest()),))
            for path, content in sorted(FILES[self._commit].items())
        )
        return Manifest("hf://org/model", files, self._commit, whole="hf://org/model")

    def open(self, file: RemoteFile, span: Span) -> Body:
        raise NotImplementedError

    def prefetch(self, pieces: object) -> None:
        raise NotImplementedError

    def close(self) -> None: ...


def finish(folder: Path, commit: str, dies_at: int = 0) -> None:
    """Do the last step of a run at a commit, whose blobs are there. The step may be its last."""
    repository = CachedRepository(folder, RepositoryLayout.of(HubAddress.parse("hf://org/model")))
    source = repository.wrap(Listing(commit), FileFilter(), Expectation())
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    for content in FILES[commit].values():
        (folder / "blobs" / hashlib.sha256(content).hexdigest()).write_bytes(content)
    with Volume(folder, files=repository.open()) as volume, volume.lease("hf://org/model"):
        manifest = source.manifest()
        Dying.left = dies_at
        repository.finalize(volume, manifest, {}, lambda: None)


def read(folder: Path) -> Mapping[str, bytes] | None:
    """Return what a reader finds under the branch; None without it."""
    try:
        commit = (folder / "refs/main").read_text()
    except FileNotFoundError:
        return None
    return snapshot(folder, commit)


def snapshot(folder: Path, commit: str) -> Mapping[str, bytes]:
    top = folder / "snapshots" / commit
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("moves", [False, True], ids=["a first revision", "a branch that moves"])
def test_a_reader_finds_a_whole_revision_after_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, moves: bool
) -> None:
    for number in count(1):
        folder = tmp_path / str(number) / "models--org--model"
        if moves:
            finish(folder, OLD)
        before = read(folder)
        killed = False
        with monkeypatch.context() as patch:
            patch.setattr(module, "CacheDisk", Dying)
            try:
                finish(folder, NEW, dies_at=number)
            except Killed:
                killed = True
        assert read(folder) in (before, FILES[NEW])
        if (folder / "snapshots" / NEW).exists():
            assert snapshot(folder, NEW) == FILES[NEW]
        if not killed:
            break
        finish(folder, NEW)
        assert read(folder) == FILES[NEW]
        assert snapshot(folder, OLD) == (FILES[OLD] if moves else {})
    assert number > 20


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "models--org--model"
    (folder / "snapshots" / NEW).mkdir(parents=True)
    (folder / "snapshots" / NEW / "sub").write_bytes(b"in the way")
    with pytest.raises(VolumeError, match=f"snapshots/{NEW}/sub"):
        finish(folder, NEW)
    assert read(folder) is None
