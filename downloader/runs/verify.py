"""Checks a finished volume, without network."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from downloader.config.formats import FormatPolicy
from downloader.errors import IntegrityError, SignatureRejected, UnexpectedArtifact, UsageError
from downloader.formatting import format_count, names_text
from downloader.hub_cache import CachedTarget
from downloader.integrity import ContentCheck
from downloader.progress import HashingProgress, Phase
from downloader.runs.expectation import read_expectation
from downloader.runs.signing import beside, make_check, read_signature, trusted_signer
from downloader.runs.wiring import make_disk, make_filter
from downloader.signing import FoundFiles
from downloader.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from downloader.config import Settings
    from downloader.hub_cache import CachedSnapshot
    from downloader.integrity import Expectation
    from downloader.progress import Snapshot
    from downloader.runs.formats import FormatCheck
    from downloader.runs.runner import Runner
    from downloader.signing import SignatureCheck
    from downloader.volume import RecordedArtifact, Verification

log = logging.getLogger(__name__)


def read_checksums(settings: Settings, runner: Runner) -> bytes:
    """Return the checksums of the artifact in the target, as `sha256sum -c` reads them.

    Raises IntegrityError if the target has none.
    """

    def reading() -> bytes:
        with Volume(settings.job.target, create=False) as volume:
            return volume.checksums()

    return runner.run(reading)


def read_recorded(settings: Settings, runner: Runner, *, revision: str | None = None) -> RecordedArtifact:
    """Return what the completion mark in the target says of the artifact, without hashing. See `verify_volume`."""

    def reading() -> RecordedArtifact:
        return _recorded(settings.job.target, cached_target(settings.job.target, revision))

    return runner.run(reading)


def _recorded(target: Path, cached: CachedTarget | None) -> RecordedArtifact:
    if cached is not None:
        return cached.recorded()
    with Volume(target, create=False) as volume:
        return volume.recorded()


def require_expected(
    expectation: Expectation, recorded: RecordedArtifact, choose: Callable[[Iterable[str]], Collection[str]]
) -> None:
    """Raise UnexpectedArtifact if what is recorded is not what is expected, as far as `choose` wants its files."""
    uri = recorded.source or "the artifact"
    expectation.require_digest(uri, recorded.digests)
    if expectation.files is not None:
        files = {path: recorded.digests[path] for path in choose(recorded.digests)}
        chosen = expectation.chosen(expectation.files, None, choose)
        replace(expectation, digest="", files=chosen).require(uri, files)


def cached_target(target: Path, revision: str | None) -> CachedTarget | None:
    """Return the target as a repository in a cache, at the snapshot of a revision; None for a plain folder.

    Raises UsageError for a revision that it does not have.
    """
    cached = CachedTarget.of(target)
    if cached is not None:
        return cached if revision is None else cached.at(revision)
    if revision is not None:
        hint = "leave --revision out, or name the folder of a repository: models--org--name"
        raise UsageError(f"{target} is not a repository in a cache of huggingface_hub", hint=hint)
    return None


def verify_volume(
    settings: Settings, runner: Runner, observer: Callable[[Snapshot], None], *, revision: str | None = None
) -> Verification:
    """Hash the files that the target's checksums list, and return what differs from them.

    Of a repository in a cache, the names that lead to them are checked, too; `revision` selects one snapshot of it.
    Files that are right are then compared with the signature, if there is to be one, and judged by their formats.

    Raises IntegrityError if the target has no checksums, UsageError for a revision that it does not have,
    SignatureRejected, UnsafeFormat.
    """
    further = _FurtherChecks(settings, runner)
    meter, files = runner.meter, HashingProgress()

    def progress(count: int) -> None:
        runner.cancellation.check()
        meter.add_written(count)
        files.add(count)

    def hashing(volume: Volume, choose: Callable[[Collection[str]], Collection[str]]) -> Verification:
        content = ContentCheck(settings.job.accept_any, listed=True)
        with meter.showing(files.progress):
            return volume.verify(
                expect=meter.expect, progress=progress, begun=files.begin, choose=choose, content=content
            )

    def verifying() -> Verification:
        target, choose = settings.job.target, make_filter(settings).choose
        expectation = read_expectation(settings, runner)
        cached = cached_target(target, revision)
        if expectation:  # before hundreds of gigabytes are read
            try:
                require_expected(expectation, _recorded(target, cached), choose)
            except UnexpectedArtifact as error:
                error.hint = error.hint or "check the revision, the filters and --expect-digest or --expect-list"
                raise
        if cached is not None:
            found = cached.verify(hashing, choose, further=further.check_snapshots, keep_pages=settings.job.keep_pages)
        else:
            with Volume(target, files=make_disk(settings, create=False)) as volume:
                found = hashing(volume, choose)
                if not found.damaged:
                    further.check_folder(volume, found)
        if expectation.digest and not found.damaged and found.digest != expectation.digest:
            raise UnexpectedArtifact(
                f"{format_count(found.checked, 'file')} of {target} verified, and --expect-digest is for all of them",
                hint="leave out the filters: --include, --exclude and --only",
            )
        return found

    meter.enter(Phase.HASHING)
    return runner.run(partial(_naming_repositories, verifying, settings.job.target), observers=[observer])


class _FurtherChecks:
    """What is asked for besides right bytes: the signature of the files, and formats that run no code."""

    def __init__(self, settings: Settings, runner: Runner) -> None:
        """Prepare. Raises ConfigurationError for a signer that cannot be used, and what reading a signature does."""
        self._choose = make_filter(settings, signed=True).choose
        signer = trusted_signer(settings)
        self._signature = None if signer is None else make_check(signer, settings, runner)
        self._formats = _format_check(settings, runner)

    def check_folder(self, volume: Volume, found: Verification) -> None:
        """Judge the files of a plain folder that have been verified. Raises SignatureRejected, UnsafeFormat."""
        others = beside(self._choose(found.unlisted))
        if self._signature is not None:
            single = len(found.digests) == 1 and not others
            read = partial(read_signature, volume)
            self._signature.check(FoundFiles(found.digests, self._choose, read, others, single=single))
        if self._formats is not None:
            self._formats.require(volume, [*found.digests, *others])

    def check_snapshots(self, volume: Volume, snapshots: Sequence[CachedSnapshot]) -> None:
        """Judge each snapshot that was verified: a program may load any. Raises SignatureRejected, UnsafeFormat."""
        if self._signature is not None:
            for snapshot in snapshots:
                self._check_signature(self._signature, volume, snapshot)
        if self._formats is not None:
            several = len(snapshots) > 1
            places = {
                f"{snapshot.commit}/{path}" if several else path: place
                for snapshot in snapshots
                for path, place in snapshot.places.items()
            }
            self._formats.require(volume, places, places)

    def _check_signature(self, check: SignatureCheck, volume: Volume, snapshot: CachedSnapshot) -> None:
        def read(path: str) -> bytes:
            return read_signature(volume, snapshot.places[path])

        log.info("judging the snapshot %s", snapshot.commit)
        try:
            check.check(FoundFiles(snapshot.digests, self._choose, read, snapshot.beside))
        except SignatureRejected as error:
            error.message = f"snapshot {snapshot.commit}: {error.message}"
            raise


def _format_check(settings: Settings, runner: Runner) -> FormatCheck | None:
    policy = settings.formats.formats
    if policy is FormatPolicy.ANY:
        return None
    from downloader.runs.formats import FormatCheck  # noqa: PLC0415 -- most runs do not look

    return FormatCheck(policy, runner.cancellation.check)


def _naming_repositories(verify: Callable[[], Verification], target: Path) -> Verification:
    """Verify, and say so where the target is a whole cache: the mark of each repository is in a folder of its own."""
    try:
        return verify()
    except IntegrityError as error:
        names = [] if isinstance(error, UnexpectedArtifact) else CachedTarget.below(target)
        if not names:
            raise
        raise IntegrityError(
            f"{target} is a cache of huggingface_hub and not verified as a whole: name one of its repositories",
            hint=f"it has {names_text(names)}",
        ) from error
