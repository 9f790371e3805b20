"""The policy for formats: judges files before they are published, and those that are already."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.config.formats import FormatPolicy
from downloader.errors import UnsafeFormat
from downloader.formats import SOURCE, Content, Risk, assess, foresee, is_source
from downloader.formatting import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from downloader.artifact import Manifest, RemoteFile
    from downloader.runs.target import TargetFolder
    from downloader.volume import Inventory, Volume

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
                content = bytearray(count)
                return bytes(content[: reading.readinto(offset, memoryview(content))])

            return assess(path, Content(read, reading.found.size))


class FormatRequirement:
    """Requires that no file has a format that is refused. Judges files while they arrive, too (`EarlyCheck`)."""

    def __init__(self, check: FormatCheck, folder: TargetFolder) -> None:
        """Prepare. `folder` knows where the files are on the volume."""
        self._check = check
        self._folder = folder
        self._names: dict[str, list[str]] = {}

    def foresee(
        self, volume: Volume, manifest: Manifest, found: Inventory, published: Mapping[str, str] | None
    ) -> None:
        """Judge a listing by its names, and note under which ones the files that arrive will be found."""
        del volume, manifest, found
        self._names = {}
        if published is not None:  # else an archive arrives, and what is in it counts
            for name in published:
                self._names.setdefault(self._folder.path_of(name), []).append(name)
            self._check.foresee(Risk(name, SOURCE) for name in sorted(published) if is_source(name))

    def look(self, file: RemoteFile, head: bytes, arrived: int, read: Callable[[int, int], bytes]) -> int:
        """Judge the first bytes of a file that arrives, by each of its names. Raises UnsafeFormat."""
        wanted = []
        for name in self._names.get(file.path, ()):
            risks, more = foresee(name, Content(read, file.size), head, arrived)
            self._check.foresee(risks)
            wanted.append(more)
        return min(filter(None, wanted), default=0)

    def require(
        self, volume: Volume, manifest: Manifest, published: Mapping[str, str], beside: Collection[str]
    ) -> None:
        """Judge the files. Raises UnsafeFormat."""
        del manifest
        names = [*published, *beside]
        self._check.require(volume, names, {name: self._folder.path_of(name) for name in names})
