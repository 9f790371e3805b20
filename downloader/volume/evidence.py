"""What the volume itself knows of its files: the checksums of a finished run and the ledger of an unfinished one.

Only the checksums of a finished artifact spare a run the hashing: a rerun is a look. All that lies in `.downloading` is
work under way, which anybody who shares the volume may have put there; it spares fetching, and what it says is hashed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.errors import IntegrityError
from downloader.volume.checksums import LARGEST, MARKER, Checksums, fingerprint, parse, sha256_of
from downloader.volume.files import InTheWay, Kind, NotThere
from downloader.volume.lease import WORK
from downloader.volume.ledger import read_ledger

if TYPE_CHECKING:
    from downloader.artifact import Manifest, RemoteFile
    from downloader.volume.files import FileOperations, Stat

PREVIOUS = f"{WORK}/previous.sha256"
"""Where the checksums of the last finished run wait while a run changes what they speak of."""

_log = logging.getLogger(__name__)


class Evidence:
    """Believes a file by its metadata, or names the digest that hashing it must give.

    A file that the checksums of a finished run list counts as unchanged if it was last changed no later than they were
    written.
    """

    def __init__(self, files: FileOperations, manifest: Manifest) -> None:
        self._ledger = read_ledger(files, (file.path for file in manifest.files))
        self.marker = read_checksums(files, MARKER)
        """The checksum file of a finished run, with its time; None while there is none that can be read."""
        listed = self.marker or read_checksums(files, PREVIOUS)
        self._checksums = listed[0] if listed else Checksums({})
        self._written = self.marker[1] if self.marker else None
        """When the checksums were written, if they are those of a finished run."""
        self.same_artifact = self._checksums.covers(manifest) and (
            self._checksums.fingerprint == fingerprint(manifest, self._checksums.files)
        )
        """The checksums were made of a manifest with exactly these files, and nobody has touched them."""
        own = parse_own(manifest)
        self._published = own.files if own else {}
        self.is_published = self.marker is not None and (self.marker[0].raw == own.raw if own else self.same_artifact)
        """The checksum file of a finished run is the one that this artifact gets."""
        self.ours = self._checksums.files.keys() | self._ledger.keys()
        """Paths that this project has put on the volume."""

    def known(self, file: RemoteFile, found: Stat) -> tuple[str, str] | None:
        """Return sha256 and proof of a file that need not be hashed; None if nothing vouches for it."""
        if self._written is None or found.kind is not Kind.FILE or found.size != file.size:
            return None
        listed = self._listed(file)
        if listed is None or found.mtime_ns > self._written:
            return None
        return listed, self._checksums.proof_of(file.path)

    def expected(self, file: RemoteFile) -> str | None:
        """Return the sha256 that the file has if it is right; None if only its other digests can tell."""
        return self._wanted(file) or self._listed(file) or self._committed(file)

    def _wanted(self, file: RemoteFile) -> str | None:
        return sha256_of(file) or self._published.get(file.path)

    def _listed(self, file: RemoteFile) -> str | None:
        """Return what the checksums say of the very content that the manifest has under this path."""
        listed, wanted = self._checksums.files.get(file.path), self._wanted(file)
        return listed if (listed == wanted if wanted else self.same_artifact) else None

    def _committed(self, file: RemoteFile) -> str | None:
        """Return the sha256 with which a file came of which its source publishes nothing at all."""
        entry = self._ledger.get(file.path)
        return entry.sha256 if entry and entry.identity == file.identity and not file.digests else None


def parse_own(manifest: Manifest) -> Checksums | None:
    """Return the source's own checksum file, if there is one and it covers exactly the manifest's files."""
    if manifest.checksums is None:
        return None
    try:
        own = parse(manifest.checksums)
    except IntegrityError as error:
        _log.debug("the source's %s is passed over: %s", MARKER, error)
        return None
    return own if own.covers(manifest) else None


def read_checksums(files: FileOperations, path: str) -> tuple[Checksums, int] | None:
    """Return a checksum file of the volume and the time of its last change in ns; None if it cannot be believed."""
    try:
        handle = files.open(path)
    except (NotThere, InTheWay):
        return None
    try:
        found = files.handle_stat(handle)
        buffer = memoryview(bytearray(min(found.size, LARGEST + 1)))
        return parse(bytes(buffer[: files.read(handle, 0, buffer)])), found.mtime_ns
    except IntegrityError as error:
        _log.debug("%s/%s is passed over: %s", files.name, path, error)
        return None
    finally:
        files.close(handle)
