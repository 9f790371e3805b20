"""What the artifact of one run has to meet before it is published: a signature, and formats that run no code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.config.formats import FormatPolicy
from downloader.engine import CheckedFinalizer
from downloader.runs.signing import SignatureRequirement, beside, fetching, make_check
from downloader.runs.wiring import make_filter

if TYPE_CHECKING:
    from collections.abc import Collection

    from downloader.config import Settings
    from downloader.engine import EarlyCheck, Finalizer, Requirement
    from downloader.formats import Risk
    from downloader.progress import StallWatchdog
    from downloader.runs.formats import FormatCheck
    from downloader.runs.runner import Runner
    from downloader.runs.target import TargetFolder
    from downloader.signing import SignatureCheck, VerifyingProcess
    from downloader.sources import Source
    from downloader.sources.registry import ArtifactUri
    from downloader.volume import Volume


class Requirements:
    """The requirements that the settings of a run ask for, and what came out."""

    def __init__(
        self,
        uri: ArtifactUri,
        settings: Settings,
        runner: Runner,
        watchdog: StallWatchdog,
        *,
        verifier: VerifyingProcess | None,
        source: Source,
        folder: TargetFolder,
    ) -> None:
        """Prepare. Without a `verifier`, no signature is verified.

        A signature that is not in the artifact is read now, with the errors of that. One that is comes from `source`
        before the other files do, unless mirrors are there to do without it.
        """
        self._settings = settings
        self._folder = folder
        self._choose = make_filter(settings, signed=True).choose
        self._all: list[Requirement] = []
        self._signature: SignatureCheck | None = None
        self._formats: FormatCheck | None = None
        self.early: EarlyCheck | None = None
        """What looks at files while they arrive; None if nothing does."""
        if verifier is not None:
            self._signature = make_check(verifier, settings, runner, uri, watchdog)
            fetch = None if settings.job.mirrors else fetching(source, runner, watchdog)
            self._all.append(SignatureRequirement(self._signature, self._choose, folder, fetch))
        if settings.formats.formats is not FormatPolicy.ANY:
            from downloader.runs.formats import FormatCheck, FormatRequirement  # noqa: PLC0415 -- most runs do not look

            self._formats = FormatCheck(settings.formats.formats, runner.cancellation.check)
            self.early = requirement = FormatRequirement(self._formats, folder)
            self._all.append(requirement)

    @property
    def signer(self) -> str:
        """Who has signed the artifact, in words; empty if no signature was verified, or it was not right."""
        return self._signature.signer if self._signature is not None else ""

    @property
    def risks(self) -> tuple[Risk, ...] | None:
        """What was said against the formats of the files; None if they were not judged."""
        return self._formats.risks if self._formats is not None else None

    def finalizer(self) -> Finalizer | None:
        """Return the last step of the run, which checks all of them before the folder's own step goes on."""
        step = self._folder.step
        if not self._all:
            return step
        prunes = self._settings.job.prune or self._settings.job.replace
        return CheckedFinalizer(step, self._all, beside=self._beside, prunes=prunes)

    def _beside(self, volume: Volume, paths: Collection[str]) -> Collection[str]:
        """Return which other files may be loaded with these. A snapshot of a cache has a folder of its own."""
        return () if self._folder.is_cached else beside(self._choose(volume.beside(paths)))
