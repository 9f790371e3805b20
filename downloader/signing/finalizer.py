"""Verifies the signature of an artifact between "every file is verified" and "published"."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from downloader.errors import ConfigurationError, DownloadError, SignatureRejected, VolumeError
from downloader.formatting import format_size
from downloader.signing.check import FoundFiles, SignatureCheck
from downloader.signing.signer import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from downloader.artifact import Manifest, RemoteFile
    from downloader.volume import CompletedArtifact, Inventory, Publication, Volume


log = logging.getLogger(__name__)


class Step(Protocol):
    """What follows the check: a finalizer (`engine/finalizer.py`)."""

    def is_final(self, completed: CompletedArtifact) -> bool:
        """Return whether a complete artifact is what the step publishes."""

    def inventory(self, volume: Volume, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest."""

    def published(self, manifest: Manifest, digests: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return path → sha256 of what users will find; None if only `finalize` can tell."""

    def finalize(
        self, volume: Volume, manifest: Manifest, digests: Mapping[str, str], check: Callable[[], None]
    ) -> Publication:
        """Return what is to be published."""


class SignedFinalizer:
    """A finalizer that verifies a signature before another one, `step`, goes on.

    An artifact that is published already is verified as well: the run before may not have been asked for a signature.
    """

    def __init__(
        self,
        step: Step,
        check: SignatureCheck,
        *,
        choose: Callable[[Collection[str]], Collection[str]],
        beside: Callable[[Volume, Collection[str]], Collection[str]],
        prunes: bool,
        blobs: Callable[[], tuple[Manifest, Mapping[str, str]] | None] = lambda: None,
        fetch: Callable[[RemoteFile], bytes] | None = None,
    ) -> None:
        """Prepare. `choose` returns which paths pass the filters.

        `beside` returns which files of a volume are not among these paths, and would be loaded with them; `prunes` says
        that publishing removes some of those that earlier runs have left.

        `fetch` returns the content of a signature that is not on the volume yet; None if only the volume will have it.

        If files are on the volume under other names than those that users find, `blobs` returns the manifest by the
        latter, and the path on the volume of each.
        """
        self._step = step
        self._check = check
        self._choose = choose
        self._beside = beside
        self._prunes = prunes
        self._blobs = blobs
        self._fetch = fetch
        self._foreseen: Manifest | None = None

    @property
    def signer(self) -> str:
        """Who has signed the artifact, in words; empty if its signature is not right, or was not verified yet."""
        return self._check.signer

    def is_final(self, completed: CompletedArtifact) -> bool:
        """Return False: only `inventory` gets the volume, where the signature is."""
        del completed
        return False

    def inventory(self, volume: Volume, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest.

        Raises SignatureRejected if it is published and not what was signed, or if the manifest shows that it will be.
        """
        found = self._step.inventory(volume, manifest)
        if found.published:
            published = found.unpacked or self._step.published(manifest, found.digests) or {}
            if self._prunes and self._beside_of(volume, manifest, published):
                return replace(found, published=False)  # it is verified when it is published again, without those
            self._verify(volume, manifest, published)
        elif manifest != self._foreseen:
            self._foresee(volume, manifest, found)
            self._foreseen = manifest
        return found

    def _foresee(self, volume: Volume, manifest: Manifest, found: Inventory) -> None:
        """Compare names and published digests with what was signed, before hundreds of gigabytes are fetched."""
        # The process that verifies does without them.
        from downloader.integrity import sha256_of  # noqa: PLC0415
        from downloader.volume import own_digests  # noqa: PLC0415

        own = own_digests(manifest)
        known = {file.path: sha256_of(file) or own.get(file.path, "") for file in manifest.files}
        published = self._step.published(manifest, known)
        if published is None:  # an archive, and what is in it counts
            return
        files = {file.path: file for file in manifest.files}

        def read(path: str) -> bytes:
            place = self._place_of(path)
            if place in found.digests:
                return read_file(volume, place)
            if self._fetch is None or files[place].size > LONGEST:
                raise VolumeError(f"{place} is not on the volume yet")
            return self._fetch(files[place])

        try:
            self._check.foresee(self._found(manifest, published, read))
        except (SignatureRejected, ConfigurationError):
            raise
        except DownloadError as error:  # it will be fetched with the others, and that error counts
            log.debug("the signature is compared at the end: %s", error.message)

    def published(self, manifest: Manifest, digests: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return what the step publishes."""
        return self._step.published(manifest, digests)

    def finalize(
        self, volume: Volume, manifest: Manifest, digests: Mapping[str, str], check: Callable[[], None]
    ) -> Publication:
        """Verify the signature and return what is to be published. Raises SignatureRejected.

        What is in an archive is known once it is unpacked; nothing else may happen before the signature is verified.
        """
        published = self._step.published(manifest, digests)
        if published is not None:
            self._verify(volume, manifest, published)
        publication = self._step.finalize(volume, manifest, digests, check)
        if published is None:
            self._verify(volume, publication.manifest, publication.digests, publication.consumed)
        return publication

    def _verify(
        self, volume: Volume, manifest: Manifest, digests: Mapping[str, str], consumed: Collection[str] = ()
    ) -> None:
        found = self._found(manifest, digests, lambda path: read_file(volume, self._place_of(path)))
        others = self._beside_of(volume, manifest, digests)
        self._check.check(replace(found, beside=[path for path in others if path not in consumed]))

    def _found(self, manifest: Manifest, digests: Mapping[str, str], read: Callable[[str], bytes]) -> FoundFiles:
        blobs = self._blobs()
        manifest = blobs[0] if blobs is not None else manifest
        single = manifest.single and manifest.files[0].path in digests
        return FoundFiles(digests, self._wanted(manifest, single=single), read, single=single)

    def _beside_of(self, volume: Volume, manifest: Manifest, digests: Mapping[str, str]) -> Collection[str]:
        """Return what lies beside an artifact. A single file has nothing to do with what does; nor has a blob."""
        alone = manifest.single and manifest.files[0].path in digests
        return () if alone or self._blobs() is not None else self._beside(volume, digests)

    def _place_of(self, path: str) -> str:
        """Return the path on the volume of a file that users will find under another one."""
        blobs = self._blobs()
        return path if blobs is None else blobs[1].get(path, path)

    def _wanted(self, manifest: Manifest, *, single: bool) -> Callable[[Collection[str]], Collection[str]]:
        def wanted(paths: Collection[str]) -> Collection[str]:
            if single:
                return ()
            return [path for path in self._choose(paths) if manifest.single or manifest.may_have(path)]

        return wanted


def read_file(volume: Volume, path: str) -> bytes:
    """Return the content of a signature on the volume. Raises SignatureRejected if it is too long, VolumeError."""
    with volume.reading(path) as reading:
        size = reading.found.size
        if size > LONGEST:
            raise SignatureRejected(f"{path} is too long for a signature: {format_size(size)}")
        content = bytearray(size)
        return bytes(content[: reading.readinto(0, memoryview(content))])
