"""What a run does with its verified files before they are published: nothing, or unpacking them, for example."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from downloader.volume import Publication, published_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from downloader.artifact import Manifest
    from downloader.volume import CompletedArtifact, Inventory, Volume


class Finalizer(Protocol):
    """A step between "every file is verified" and "published".

    It may publish other files than were downloaded, and has to recognize those on the next run. It keeps no state
    between calls: a killed run is continued by another process.
    """

    def is_final(self, completed: CompletedArtifact) -> bool:
        """Return whether a complete artifact is what this step publishes, rather than what it starts from."""

    def inventory(self, volume: Volume, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest, by metadata alone and without the lease, like `Volume.inventory`.

        Files that this step has turned into others count as verified as long as all of those are unchanged.
        """

    def published(self, manifest: Manifest, digests: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return path → sha256 of what users will find, for path → sha256 of the manifest's files.

        None if only `finalize` can tell.
        """

    def finalize(
        self, volume: Volume, manifest: Manifest, digests: Mapping[str, str], check: Callable[[], None]
    ) -> Publication:
        """Return what is to be published in the place of these files, under the lease.

        `digests` is path → sha256 of every file. `check` raises when the run is cancelled; call it at least once a
        second. Raises one of our errors if the step fails; then nothing is published.
        """


class PublishAsDownloaded:
    """The usual last step: the files are published as they were downloaded, once `before` has returned."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self._before = before

    def is_final(self, completed: CompletedArtifact) -> bool:
        """Return True: any complete artifact is final."""
        del completed
        return True

    def inventory(self, volume: Volume, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest."""
        return volume.inventory(manifest)

    def published(self, manifest: Manifest, digests: Mapping[str, str]) -> Mapping[str, str]:
        """Return the files as they are."""
        del manifest
        return digests

    def finalize(
        self, volume: Volume, manifest: Manifest, digests: Mapping[str, str], check: Callable[[], None]
    ) -> Publication:
        """Return the files as they are."""
        del volume, check
        self._before()
        return Publication(manifest, digests)


class Requirement(Protocol):
    """What an artifact has to meet before it is published, such as a signature."""

    def foresee(
        self, volume: Volume, manifest: Manifest, found: Inventory, published: Mapping[str, str] | None
    ) -> None:
        """Raise what `require` will raise, as far as a listing shows it: then nothing is fetched.

        `published` is path → sha256 of what users will find, with an empty digest where the source publishes none; None
        if only `Finalizer.finalize` can tell.
        """

    def require(
        self, volume: Volume, manifest: Manifest, published: Mapping[str, str], beside: Collection[str]
    ) -> None:
        """Raise one of our errors unless what users will find, path → sha256, may be published.

        In `beside` are further files of the folder, which a program may load with these.
        """


class CheckedFinalizer:
    """A finalizer that lets another one, `step`, go on once every requirement is met.

    An artifact that is published already has to meet them as well: the run before may not have been asked to.
    """

    def __init__(
        self,
        step: Finalizer | None,
        requirements: Sequence[Requirement],
        *,
        beside: Callable[[Volume, Collection[str]], Collection[str]],
        prunes: bool,
    ) -> None:
        """Prepare. Without a `step`, the files are published as they were downloaded.

        `beside` returns which files of a volume are not among these paths, and may be loaded with them; `prunes` says
        that publishing removes some of those that earlier runs have left.
        """
        self._step = step or PublishAsDownloaded()
        self._requirements = requirements
        self._beside = beside
        self._prunes = prunes
        self._foreseen: Manifest | None = None

    def is_final(self, completed: CompletedArtifact) -> bool:
        """Return False: only `inventory` gets the volume, where the files are."""
        del completed
        return False

    def inventory(self, volume: Volume, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest.

        Raises what a requirement does of an artifact that is published already, or of what the manifest shows.
        """
        found = self._step.inventory(volume, manifest)
        if not found.published:
            self._foresee(volume, manifest, found)
            return found
        published = found.unpacked or self._step.published(manifest, found.digests) or {}
        beside = self._files_beside(volume, manifest, published)
        if self._prunes and beside:
            return replace(found, published=False)  # it is checked when it is published again, without those
        self._require(volume, manifest, published, beside)
        return found

    def published(self, manifest: Manifest, digests: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return what the step publishes."""
        return self._step.published(manifest, digests)

    def finalize(
        self, volume: Volume, manifest: Manifest, digests: Mapping[str, str], check: Callable[[], None]
    ) -> Publication:
        """Return what the step publishes, if that meets the requirements.

        What is in an archive is known once it is unpacked; nothing else may happen before they are met.
        """
        published = self._step.published(manifest, digests)
        if published is not None:
            self._require(volume, manifest, published, self._files_beside(volume, manifest, published))
        publication = self._step.finalize(volume, manifest, digests, check)
        if published is None:
            manifest, published = publication.manifest, publication.digests
            beside = self._files_beside(volume, manifest, published)
            consumed = frozenset(publication.consumed)
            self._require(volume, manifest, published, [path for path in beside if path not in consumed])
        return publication

    def _foresee(self, volume: Volume, manifest: Manifest, found: Inventory) -> None:
        if manifest == self._foreseen:
            return
        published = self._step.published(manifest, published_digests(manifest))
        for requirement in self._requirements:
            requirement.foresee(volume, manifest, found, published)
        self._foreseen = manifest

    def _require(
        self, volume: Volume, manifest: Manifest, published: Mapping[str, str], beside: Collection[str]
    ) -> None:
        for requirement in self._requirements:
            requirement.require(volume, manifest, published, beside)

    def _files_beside(self, volume: Volume, manifest: Manifest, published: Mapping[str, str]) -> Collection[str]:
        """Return the files beside an artifact. A single file has nothing to do with it, unless it is an archive."""
        alone = manifest.single and manifest.files[0].path in published
        return () if alone else self._beside(volume, published)
