"""The last step: the checksum file, and nothing else left of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.errors import InternalError, VolumeError
from downloader.volume.checksums import MARKER, Checksums, render
from downloader.volume.evidence import PREVIOUS, parse_own
from downloader.volume.files import Kind, NotThere, stats_of
from downloader.volume.lease import PARTS, WORK, is_lease
from downloader.volume.removal import clear, remove
from downloader.volume.seal import seal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from downloader.artifact import Manifest
    from downloader.volume.files import FileOperations, Stat


def publish(
    files: FileOperations,
    folder: str,
    manifest: Manifest,
    digests: Mapping[str, str],
    *,
    date: datetime,
    proofs: Mapping[str, str],
    confirm: Callable[[], None],
) -> None:
    """Write `.artifact.sha256` durably and at once. `folder` is the lease holder's, so it fences this rename too.

    Its time of change is never before that of a file it lists, even if another machine with a fast clock wrote the
    file: that comparison is how later runs know that nothing was changed since.
    """
    confirm()
    lacking = [file.path for file in manifest.files if file.path not in digests]
    if lacking:
        raise InternalError(f"{lacking[0]} was never verified, and so are {len(lacking) - 1} others")
    found = _final_files(files, manifest)
    newest = max((details.mtime_ns for details in found.values()), default=0)
    temporary = f"{folder}/checksums"
    clear(files, temporary)
    handle = files.create(temporary)
    try:
        files.write(handle, 0, _content(manifest, digests, date, proofs, found))
        if files.handle_stat(handle).mtime_ns < newest:
            files.touch(handle, newest)
        files.sync(handle)
    finally:
        files.close(handle)
    confirm()
    try:
        files.rename(temporary, MARKER)
    except NotThere:
        confirm()
        raise
    files.sync_folder("")


def retire(files: FileOperations) -> None:
    """Take the checksum file away before the first file is changed: it stands only beside a complete artifact."""
    if files.stat(MARKER) is None:
        return
    files.rename(MARKER, PREVIOUS)
    files.sync_folder(WORK)
    files.sync_folder("")


def clear_work(files: FileOperations, folder: str) -> None:
    """Remove all that runs needed, except the lease, which its holder removes last.

    Partials go only from the holder's own `folder`: any others belong to somebody who has taken over this very moment.
    """
    for name, kind in files.scan(WORK).items():
        path = f"{WORK}/{name}"
        if path == folder or not (is_lease(name) or name.startswith(PARTS)):
            remove(files, path, kind)


def _content(
    manifest: Manifest,
    digests: Mapping[str, str],
    date: datetime,
    proofs: Mapping[str, str],
    found: Mapping[str, Stat],
) -> bytes:
    own = parse_own(manifest)
    if own is not None and all(own.files[file.path] == digests[file.path] for file in manifest.files):
        return own.raw
    seal = ""
    if manifest.version:
        listed = Checksums({file.path: digests[file.path] for file in manifest.files}, proofs=proofs)
        seal = seal_of(manifest.version, listed, found)
    return render(manifest, digests, date, proofs, seal=seal)


def _final_files(files: FileOperations, manifest: Manifest) -> dict[str, Stat]:
    """Return the files of the manifest by path. Raises VolumeError if one is gone or of another size."""
    found = stats_of(files, (file.path for file in manifest.files))
    for file in manifest.files:
        details = found.get(file.path)
        if details is None or details.kind is not Kind.FILE or details.size != file.size:
            raise VolumeError(f"{file.path} was changed by somebody else during the run", hint="run again to mend it")
    return found
