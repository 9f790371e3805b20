"""The signature that a run verifies: who is trusted, where the signature is, and what it is compared with."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.config.formats import FormatPolicy
from downloader.config.signing import SignatureMode
from downloader.errors import ConfigurationError, DownloadError, SignatureRejected, UsageError, VolumeError
from downloader.filesystem import absolute
from downloader.formatting import format_size
from downloader.integrity import MARKER
from downloader.runs.small_files import SmallFile, whole
from downloader.runs.wiring import make_filter
from downloader.signing import MAX_SIGNATURE_SIZE, FoundFiles, SignatureCheck, TrustedSigner, VerifyingProcess
from downloader.volume import LEFT_BY_TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from downloader.artifact import Manifest, RemoteFile
    from downloader.config import Settings
    from downloader.progress import StallWatchdog
    from downloader.runs.runner import Runner
    from downloader.runs.target import TargetFolder
    from downloader.sources import Source
    from downloader.sources.registry import ArtifactUri
    from downloader.volume import Inventory, Volume

NAMES = "--verify-signature, AIM_SIGNATURE_URI"

log = logging.getLogger(__name__)


def trusted_signer(settings: Settings) -> TrustedSigner | None:
    """Return who must have signed; None if no signature is verified. Raises ConfigurationError."""
    signing = settings.signing
    if signing.mode is SignatureMode.OFF:
        return None
    signer = TrustedSigner(
        signing.signer_key,
        signing.signer_ca,
        signing.signer_identity,
        signing.signer_issuer,
        signing.signer_trust_root,
    )
    signer.require_usable()
    return signer


def require_real(settings: Settings) -> None:
    """Raise ConfigurationError if a simulated run would publish what was not signed or judged."""
    if settings.signing.mode is SignatureMode.REQUIRE or settings.formats.formats is FormatPolicy.SAFE:
        hint = "unset AIM_DEBUG_SIMULATE_…, or AIM_SIGNATURE, the signer and AIM_FORMATS"
        raise ConfigurationError("a simulated artifact is neither signed nor judged, and that is required", hint=hint)


def make_check(
    signer: TrustedSigner | VerifyingProcess,
    settings: Settings,
    runner: Runner,
    uri: ArtifactUri | None = None,
    watchdog: StallWatchdog | None = None,
) -> SignatureCheck:
    """Return the check of a signature, which is read if it is not in the artifact, `uri`. Raises a DownloadError.

    Without `watchdog`, nothing is fetched: a signature at a URI raises UsageError.
    """
    place, given = settings.signing.signature_uri, None
    if place is not None:
        if place.is_uri and watchdog is None:
            hint = "fetch it, and name the file"
            raise UsageError(f"verify uses no network, and the signature is {place}", hint=hint)
        with _guarded(watchdog, runner):
            content = SmallFile(place, "the signature", NAMES, MAX_SIGNATURE_SIZE).read(settings, runner, uri)
        if len(content) > MAX_SIGNATURE_SIZE:
            raise SignatureRejected(f"{place} is too long for a signature: more than {format_size(MAX_SIGNATURE_SIZE)}")
        given = str(place), content
    required = settings.signing.mode is SignatureMode.REQUIRE
    return SignatureCheck(signer.verify, required=required, given=given, refused=runner.cancellation.cancel)


@contextmanager
def _guarded(watchdog: StallWatchdog | None, runner: Runner) -> Iterator[None]:
    """End the run if no byte comes for too long."""
    if watchdog is None:
        yield
        return
    watchdog.guard(runner.cancellation)
    try:
        with runner.meter.waiting_for_network():
            yield
    finally:
        watchdog.guard(None)


@contextmanager
def verifying(settings: Settings, environment: Mapping[str, str]) -> Iterator[VerifyingProcess | None]:
    """Give what verifies a signature, and prepares itself for that while the run begins; None if none is verified.

    It is a process, which gets its variables from `environment`.
    """
    signer = trusted_signer(settings)
    process = None if signer is None else VerifyingProcess(signer, environment)
    try:
        yield process
    finally:
        if process is not None:
            process.close()


class SignatureRequirement:
    """Requires that a trusted signer has signed the files of an artifact."""

    def __init__(
        self,
        check: SignatureCheck,
        choose: Callable[[Collection[str]], Collection[str]],
        folder: TargetFolder,
        fetch: Callable[[RemoteFile], bytes] | None,
    ) -> None:
        """Prepare. `choose` returns which paths pass the filters; `folder` knows where the files are on the volume.

        `fetch` returns the content of a signature that is not there yet; None if only the volume will have it.
        """
        self._check = check
        self._choose = choose
        self._folder = folder
        self._fetch = fetch

    def foresee(
        self, volume: Volume, manifest: Manifest, found: Inventory, published: Mapping[str, str] | None
    ) -> None:
        """Compare names and published digests with what was signed, before hundreds of gigabytes are fetched."""
        if published is None:  # an archive, and what is in it counts
            return
        files = {file.path: file for file in manifest.files}

        def read(path: str) -> bytes:
            place = self._folder.path_of(path)
            if place in found.digests:
                return read_signature(volume, place)
            if self._fetch is None or files[place].size > MAX_SIGNATURE_SIZE:
                raise VolumeError(f"{place} is not on the volume yet")
            return self._fetch(files[place])

        try:
            self._check.foresee(self._found(manifest, published, read))
        except (SignatureRejected, ConfigurationError):
            raise
        except DownloadError as error:  # it will be fetched with the others, and that error counts
            log.debug("the signature is compared at the end: %s", error.message)

    def require(
        self, volume: Volume, manifest: Manifest, published: Mapping[str, str], beside: Collection[str]
    ) -> None:
        """Verify the signature. Raises SignatureRejected."""
        found = self._found(manifest, published, lambda path: read_signature(volume, self._folder.path_of(path)))
        self._check.check(replace(found, beside=beside))

    def _found(self, manifest: Manifest, published: Mapping[str, str], read: Callable[[str], bytes]) -> FoundFiles:
        listed = self._folder.listed(manifest)
        single = listed.single and listed.files[0].path in published

        def wanted(paths: Collection[str]) -> Collection[str]:
            if single:
                return ()
            return [path for path in self._choose(paths) if listed.single or listed.may_have(path)]

        return FoundFiles(published, wanted, read, single=single)


def read_signature(volume: Volume, path: str) -> bytes:
    """Return the content of a signature on the volume. Raises SignatureRejected if it is too long, VolumeError."""
    with volume.reading(path) as reading:
        size = reading.found.size
        if size > MAX_SIGNATURE_SIZE:
            raise SignatureRejected(f"{path} is too long for a signature: {format_size(size)}")
        content = bytearray(size)
        return bytes(content[: reading.readinto(0, memoryview(content))])


def fetching(source: Source, runner: Runner, watchdog: StallWatchdog) -> Callable[[RemoteFile], bytes]:
    """Return what fetches the content of a signature that the artifact has."""

    def fetch(file: RemoteFile) -> bytes:
        with _guarded(watchdog, runner):
            return whole(source, file, file.path, MAX_SIGNATURE_SIZE)

    return fetch


def beside(paths: Iterable[str]) -> list[str]:
    """Return those of the files that are in a folder and not in its artifact which a program may load with it."""
    return [path for path in paths if not path.startswith(LEFT_BY_TOOLS) and path != MARKER]


def misplaced(settings: Settings) -> Path | None:
    """Return the summary of a run that would lie among files of which each has to be signed; None if none would."""
    reporting, choose = settings.reporting, make_filter(settings, signed=True).choose
    if settings.signing.mode is not SignatureMode.REQUIRE or settings.job.in_hub_cache:
        return None
    target = os.path.abspath(absolute(settings.job.target))  # noqa: PTH100 - follows no link: a volume may hang
    for path in filter(None, (reporting.report, reporting.bom, reporting.metrics_file)):
        place = Path(os.path.abspath(absolute(path)))  # noqa: PTH100 - as above
        if place.is_relative_to(target) and beside(choose([place.relative_to(target).as_posix()])):
            return path
    return None


def require_apart(settings: Settings) -> None:
    """Raise ConfigurationError if there is such a summary: the next run would refuse it, and the model with it."""
    path, target = misplaced(settings), settings.job.target
    if path is not None:
        hint = f"write it elsewhere, such as to {target.with_name(f'{target.name}.{path.name}')}"
        raise ConfigurationError(f"{path} would be in the artifact, where every file has to be signed", hint=hint)
