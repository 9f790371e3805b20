"""The policy for formats: judges files before they are published, and those that are already."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.config.formats import FormatPolicy
from downloader.engine import PublishAsDownloaded
from downloader.errors import UnsafeFormat
from downloader.formats import SOURCE, Content, Risk, assess, foresee, is_source
from downloader.formatting import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from downloader.artifact import Manifest, RemoteFile
    from downloader.engine import Finalizer
    from downloader.volume import CompletedArtifact, Inventory, Publication, Volume

SHOWN = 20
"""Risks that have a line of their own in the log."""
TOLD = 3
"""Risks that the last line names."""

log = logging.getLogger(__name__)


class FormatCheck:
    """Judges files of a volume by the policy, which is not ANY. `check` raises when the run is cancelled."""

    def __init__(self, policy: FormatPolicy, check: Callable[[], None]) -> None:
        self._policy = policy
        self._check = check
        self.risks: tuple[Risk, ...] = ()
        """What was said against the files that were judged last."""

    def require(self, volume: Volume, paths: Iterable[str], places: Mapping[str, str] | None = None) -> None:
        """Judge files, and name what is said against them in the log. Raises UnsafeFormat if the policy is SAFE.

        `places` has the path on the volume of a file that has another one there.
        """
        places = places or {}
        self.apply(risk for path in sorted(paths) for risk in self._risks(volume, path, places.get(path, path)))
        if not self.risks:
            log.info("formats: no file that may run code")

    def apply(self, risks: Iterable[Risk], *, early: bool = False) -> None:
        """Name what is said against files in the log. Raises UnsafeFormat if the policy is SAFE.

        `early`: not all files are here, so that more may be said later.
        """
        self.risks = tuple(risks)
        for risk in self.risks[:SHOWN]:
            log.warning("formats: %s", risk)
        if len(self.risks) > SHOWN:
            log.warning("formats: %d more are in the report", len(self.risks) - SHOWN)
        refused = [risk for risk in self.risks if risk.refused]
        if refused and self._policy is FormatPolicy.SAFE:
            more = f" and {len(refused) - TOLD} more" if len(refused) > TOLD else ""
            told = "; ".join(map(str, refused[:TOLD]))
            count = len({risk.path for risk in refused})
            raise UnsafeFormat(
                f"{format_count(count, 'file')} may run code with the model, or cannot be judged: {told}{more}"
                + ("; the rest was not fetched, and not judged" if early else "")
            )

    def foresee(self, risks: Iterable[Risk]) -> None:
        """Raise UnsafeFormat if the policy is SAFE and there is a risk that it refuses; else say nothing yet."""
        refused = [risk for risk in risks if risk.refused] if self._policy is FormatPolicy.SAFE else []
        if refused:
            self.apply(refused, early=True)

    def _risks(self, volume: Volume, path: str, place: str) -> list[Risk]:
        with volume.reading(place) as reading:

            def read(offset: int, count: int) -> bytes:
                self._check()
                buffer = bytearray(count)
                view, filled = memoryview(buffer), 0
                while filled < count:
                    more = reading.readinto(offset + filled, view[filled:])
                    if not more:
                        break
                    filled += more
                return bytes(view[:filled])

            return assess(path, Content(read, reading.found.size))


class AssessedFinalizer:
    """A finalizer that judges the files before another one, `step`, goes on, and an early check of what arrives.

    An artifact that is published already is judged as well: the run before may not have been asked to.
    """

    def __init__(
        self,
        step: Finalizer | None,
        check: FormatCheck,
        *,
        places: Callable[[], Mapping[str, str]],
        beside: Callable[[Volume, Collection[str]], Collection[str]],
        prunes: bool,
    ) -> None:
        """Prepare. `places` returns the path on the volume of each file that has another one there.

        `beside` and `prunes` are those of `SignedFinalizer`.
        """
        self._step: Finalizer = step or PublishAsDownloaded()
        self._check = check
        self._places = places
        self._beside = beside
        self._prunes = prunes
        self._names: dict[str, list[str]] = {}

    def is_final(self, completed: CompletedArtifact) -> bool:
        """Return False: only `inventory` gets the volume, where the files are."""
        del completed
        return False

    def inventory(self, volume: Volume, manifest: Manifest) -> Inventory:
        """Compare the volume with the manifest. Raises UnsafeFormat if it is published and not what is wanted."""
        found = self._step.inventory(volume, manifest)
        if found.published:
            published = found.unpacked or self._step.published(manifest, found.digests) or {}
            if self._prunes and self._beside_of(volume, manifest, published):
                return replace(found, published=False)  # it is judged when it is published again, without those
            self._assess(volume, manifest, published)
        else:
            self._foresee(manifest)
        return found

    def _foresee(self, manifest: Manifest) -> None:
        """Judge a listing by its names, and note under which ones the files that arrive will be found."""
        names = self._step.published(manifest, {file.path: "" for file in manifest.files})
        self._names = {}
        if names is not None:  # else an archive arrives, and what is in it counts
            places = self._places()
            for name in names:
                self._names.setdefault(places.get(name, name), []).append(name)
            self._check.foresee(Risk(name, SOURCE) for name in sorted(names) if is_source(name))

    def look(self, file: RemoteFile, head: bytes, arrived: int, read: Callable[[int, int], bytes]) -> int:
        """Judge the first bytes of a file that arrives, by each of its names. Raises UnsafeFormat."""
        wanted = []
        for name in self._names.get(file.path, ()):
            risks, more = foresee(name, Content(read, file.size), head, arrived)
            self._check.foresee(risks)
            wanted.append(more)
        return min(filter(None, wanted), default=0)

    def published(self, manifest: Manifest, digests: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return what the step publishes."""
        return self._step.published(manifest, digests)

    def finalize(
        self, volume: Volume, manifest: Manifest, digests: Mapping[str, str], check: Callable[[], None]
    ) -> Publication:
        """Judge the files and return what is to be published. Raises UnsafeFormat.

        What is in an archive is judged once it is unpacked.
        """
        published = self._step.published(manifest, digests)
        if published is not None:
            self._assess(volume, manifest, published)
        publication = self._step.finalize(volume, manifest, digests, check)
        if published is None:
            self._assess(volume, publication.manifest, publication.digests, publication.consumed)
        return publication

    def _assess(
        self, volume: Volume, manifest: Manifest, paths: Collection[str], consumed: Collection[str] = ()
    ) -> None:
        others = [path for path in self._beside_of(volume, manifest, paths) if path not in consumed]
        self._check.require(volume, [*paths, *others], self._places())

    def _beside_of(self, volume: Volume, manifest: Manifest, paths: Collection[str]) -> Collection[str]:
        """Return what lies beside an artifact. A single file has nothing to do with what does; nor has a blob."""
        return () if manifest.single or self._places() else self._beside(volume, paths)
