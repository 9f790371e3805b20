"""What a run would do, found out by the checks of the run itself, without changing anything or hashing large files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from downloader.artifact import paths_of
from downloader.engine.existing_files import older_files, removed_first, sort_existing
from downloader.errors import DownloadError, LeaseLost
from downloader.volume import FileState, check_replacement, other_artifacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.artifact import Completion, Manifest, TransferProtocol
    from downloader.engine.places import Route
    from downloader.engine.plan import Plan
    from downloader.filesystem import ReadOnlyDisk
    from downloader.volume import Inventory, InventoryEntry, MissingFiles, Volume


HASHED_AT_MOST = 16 << 20
"""Bytes of a file of another artifact that is hashed to see whether it would be replaced."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of the artifact, and what the volume has of it."""

    path: str
    size: int | None
    """Bytes; None if the server does not say."""
    digests: Mapping[str, str]
    """What the source publishes of the content: algorithm → value. Empty if it publishes nothing."""
    state: FileState
    """VERIFIED: it is kept as it is recorded; UNVERIFIED: it would be hashed."""
    present: int = 0
    """Bytes that are on the volume and need not be fetched, unless hashing shows that they are wrong."""
    proof: str = ""
    """Of a file that is kept: what verified it."""
    replaces: str = ""
    """Whose file has this name now and would be replaced: `older`, `other artifact` or `other program`; or empty."""
    same_as: str = ""
    """In a cache of huggingface_hub: another file of the artifact, whose bytes are fetched for both; or empty."""

    @property
    def fetch(self) -> int:
        """Bytes to fetch."""
        return 0 if self.size is None or self.same_as else self.size - self.present


@dataclass(frozen=True, slots=True)
class Preview:
    """What a download would do."""

    uri: str
    """The URI as given, without secrets."""
    revision: str | None
    """The commit, where the source has commits."""
    target: str
    protocols: tuple[TransferProtocol, ...]
    """The protocol sequence."""
    files: tuple[PlannedFile, ...]
    completion: Completion
    """Where the finished artifact would be marked."""
    complete: bool
    """The artifact is complete already: the download would change nothing."""
    older: Mapping[str, str] = field(default_factory=dict)
    """Path → revision of files on the volume that the artifact no longer has."""
    prune: bool = False
    """The `older` files would be removed."""
    removed_first: Sequence[str] = ()
    """Files of an older revision that would be removed before the download, to make room."""
    stale_bytes: int = 0
    """Bytes of old partial files that would be removed."""
    needed_bytes: int = 0
    """Bytes on the volume that the files would still take."""
    free_bytes: int | None = None
    """Free bytes of the volume; None where it does not say."""
    problems: tuple[DownloadError, ...] = ()
    """Why the download would not start: the errors that it would end with, the first one first."""
    places: tuple[str, ...] = ()
    """Of a run with mirrors, the place of each of the `protocols`."""

    @property
    def would_start(self) -> bool:
        """Whether the download would start, or has nothing to do."""
        return not self.problems

    @property
    def size(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def fetch(self) -> int:
        """Bytes to fetch, if what is on the volume is right."""
        return sum(file.fetch for file in self.files)


class Previewer:
    """Finds out what a run with this plan would do to a volume."""

    def __init__(
        self,
        volume: Volume,
        disk: ReadOnlyDisk,
        plan: Plan,
        routes: Sequence[Route],
        sleep: Callable[[float], None],
    ) -> None:
        """Prepare. `disk` is the volume's; `sleep` is called between two looks at the lease of another process."""
        self._volume = volume
        self._disk = disk
        self._plan = plan
        self._routes = routes
        self._sleep = sleep

    def preview(self, manifest: Manifest, inventory: Inventory) -> Preview:
        """Return the plan for an artifact. Raises VolumeError if the volume cannot be read."""
        plan = self._plan
        verified, unverified = sort_existing(inventory, plan)
        missing = inventory.missing()
        older = older_files(manifest, inventory, plan)
        complete = inventory.published and not unverified and not (older and plan.removes_older)
        stale = sum(stale.size for stale in inventory.stale_files)
        needed = inventory.needed_bytes
        problems: list[DownloadError] = []
        first: list[str] = []
        if not complete:
            problems += _errors(self._check_holder, lambda: self._check_rights(missing))
            differing = self._differing(manifest, inventory, unverified)
            missing = inventory.missing({entry.file.path for entry in differing})
            needed += sum(entry.file.size for entry in differing)
            problems += _errors(
                lambda: self._check_replacement(manifest, inventory, missing),
                lambda: first.extend(removed_first(self._volume, inventory, missing, max(0, needed - stale), plan)),
            )
        return Preview(
            manifest.uri,
            manifest.revision,
            str(self._volume.target),
            tuple(route.protocol for route in self._routes),
            self._files(manifest, inventory, verified, missing),
            self._volume.completion,
            complete,
            older,
            plan.removes_older,
            first,
            stale,
            needed,
            self._disk.space().free_bytes,
            tuple(problems),
            tuple(route.place.name for route in self._routes if route.place.name),
        )

    def _differing(
        self, manifest: Manifest, inventory: Inventory, unverified: Sequence[InventoryEntry]
    ) -> list[InventoryEntry]:
        """Return which of the files to hash are another artifact's, and so must not be replaced if they differ.

        Only small files are hashed for that; a large one is assumed to differ.
        """
        others = other_artifacts(manifest, inventory.listed, {entry.file.path for entry in unverified})
        doubtful = (entry for entry in unverified if entry.file.path in others)
        return [entry for entry in doubtful if entry.file.size > HASHED_AT_MOST or not self._volume.matches(entry)]

    def _check_replacement(self, manifest: Manifest, inventory: Inventory, missing: MissingFiles) -> None:
        if self._plan.replace:
            return
        target = str(self._volume.target)
        check_replacement(target, manifest, inventory.listed, missing.present, replace=False)

    def _check_holder(self) -> None:
        holder = self._volume.holder(self._sleep)
        if holder:
            raise LeaseLost(
                f"{holder} is working on {self._volume.target} at the moment: a download would wait for it",
                hint="wait for it to finish, or end that process",
            )

    def _check_rights(self, missing: MissingFiles) -> None:
        """Check the target, which gets the working folder, and each folder that gets a file."""
        self._disk.require_rights("")
        for folder in sorted({path.rpartition("/")[0] for path in paths_of(missing.files)} - {""}):
            if self._disk.stat(folder) is not None:
                self._disk.require_rights(folder)

    def _files(
        self,
        manifest: Manifest,
        inventory: Inventory,
        verified: Sequence[InventoryEntry],
        missing: MissingFiles,
    ) -> tuple[PlannedFile, ...]:
        kept = {entry.file.path for entry in verified}
        there = missing.present
        others = other_artifacts(manifest, inventory.listed, there)
        whose = dict.fromkeys(there & inventory.ours, "older")
        whose |= dict.fromkeys(there - inventory.ours, "other program") | dict.fromkeys(others, "other artifact")
        return tuple(self._file(entry, kept=entry.file.path in kept, whose=whose) for entry in inventory.entries)

    def _file(self, entry: InventoryEntry, *, kept: bool, whose: Mapping[str, str]) -> PlannedFile:
        file, state = entry.file, entry.state
        if state is FileState.VERIFIED and not kept:  # the proof on record is not enough for this run
            state = FileState.UNVERIFIED
        here = state in (FileState.VERIFIED, FileState.UNVERIFIED)
        return PlannedFile(
            file.path,
            file.size if file.sized or here else None,
            {str(digest.algorithm): digest.value for digest in file.digests},
            state,
            file.size if here else entry.done_bytes,
            entry.proof if kept else "",
            whose.get(file.path, ""),
        )


def _errors(*checks: Callable[[], object]) -> list[DownloadError]:
    """Return the errors that these checks raise, in their order."""
    found = []
    for check in checks:
        try:
            check()
        except DownloadError as error:
            found.append(error)
    return found
