"""Compares an artifact with what was signed off, as early as that can be known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.integrity import artifact_digest
from downloader.volume import published_digests

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.artifact import Manifest
    from downloader.engine.finalizer import Finalizer
    from downloader.engine.plan import Outcome, Plan
    from downloader.volume import CompletedArtifact, Publication, Volume


def expected_listing(manifest: Manifest, plan: Plan, finalizer: Finalizer) -> Manifest:
    """Return a listing with what the expected list says of its files.

    Raises UnexpectedArtifact if the listing alone shows that the artifact is another one: then nothing is fetched. If
    only unpacking shows what is published, it cannot tell.
    """
    expectation = plan.expectation
    if not expectation or finalizer.published(manifest, {}) is None:
        return manifest
    expected = expectation.listed(manifest, plan.file_filter.choose)
    published = finalizer.published(expected, published_digests(expected)) or {}
    if all(published.values()):
        expectation.require_digest(manifest.uri, published)
    return expected


def expected_publication(
    volume: Volume, outcome: Outcome, plan: Plan, finalizer: Finalizer, check: Callable[[], None]
) -> tuple[Publication, str]:
    """Do the last step; return what to publish and its artifact digest.

    `check` raises when the run is cancelled. Raises UnexpectedArtifact, where that can be known before the last step,
    which may show the files to users.
    """
    manifest, files, expectation = outcome.manifest, outcome.checksums, plan.expectation
    published = finalizer.published(manifest, files)
    if published is not None:
        expectation.require(manifest.uri, published, whole=False)
    publication = finalizer.finalize(volume, manifest, files, check)
    if published is None:
        published = publication.digests
        expectation.require(manifest.uri, published)
    return publication, artifact_digest(published)


def is_expected(completed: CompletedArtifact, plan: Plan) -> bool:
    """Tell whether a finished artifact is what was signed off, as far as its mark says; if not, a listing says more."""
    expectation, digests = plan.expectation, completed.digests
    listed = expectation.files
    if listed is not None and expectation.chosen(listed, completed.manifest, plan.file_filter.choose) != digests:
        return False
    return not expectation.digest or artifact_digest(digests) == expectation.digest
