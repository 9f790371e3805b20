"""Verifies the signature of an artifact between "every file is verified" and "published"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from downloader.errors import SignatureRejected
from downloader.formatting import format_size
from downloader.signing.check import FoundFiles, SignatureCheck
from downloader.signing.signer import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from downloader.artifact import Manifest
    from downloader.volume import CompletedArtifact, Inventory, Publication, Volume


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
        blobs: Callable[[], tuple[Manifest, Mapping[str, str]] | None] = lambda: None,
    ) -> None:
        """Prepare. `choose` returns which paths pass the filters.

        If files are on the volume under other names than those that users find, `blobs` returns the manifest by the
        latter, and the path on the volume of each.
        """
        self._step = step
        self._check = check
        self._choose = choose
        self._blobs = blobs

    @property
    def signer(self) -> str:
        """Who has signed the artifact, in words; empty if its signature is not right, or was not verified yet."""
        return self._check.signer

    def is_final(self, completed: CompletedArtifact) -> bool:
        """Return False: only `inventory` gets the volume, where the signature is."""
        del completed
        return False

    def inventory(self, volume: Volume, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest. Raises SignatureRejected if it is published and not what was signed."""
        found = self._step.inventory(volume, manifest)
        if found.published:
            published = found.unpacked or self._step.published(manifest, found.digests) or {}
            self._verify(volume, manifest, published)
        return found

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
            self._verify(volume, publication.manifest, publication.digests)
        return publication

    def _verify(self, volume: Volume, manifest: Manifest, digests: Mapping[str, str]) -> None:
        blobs = self._blobs()
        manifest, places = blobs or (manifest, {})
        single = manifest.single and manifest.files[0].path in digests
        self._check.check(
            FoundFiles(
                digests,
                self._wanted(manifest, single=single),
                lambda path: read_file(volume, places.get(path, path)),
                single=single,
            )
        )

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
