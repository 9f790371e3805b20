"""What a run does with its verified files before they are published: nothing, or unpacking them, for example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from downloader.volume import Publication

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
