"""What else is in the target: files of another artifact, of another revision of this one, or of another program.

None of them is replaced without a log line. Updating to another revision, or with other filters, is why a target is
used again, so such a run continues. Another artifact would break the one that is there, so `--replace` has to allow it.
What only an older revision had stays, unless `--prune` or `--replace` removes it.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from downloader.artifact import Paths
from downloader.errors import NoSpace
from downloader.formatting import format_count, names_text
from downloader.progress import HashingProgress
from downloader.volume import FileState, check_replacement, hashing_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future

    from downloader.artifact import Manifest
    from downloader.cancellation import Cancellation
    from downloader.engine.plan import Plan
    from downloader.progress import ProgressMeter
    from downloader.volume import Inventory, InventoryEntry, MissingFiles, Volume

MAX_CHECKED = 1000
"""Files that wait to be hashed at a time: a million would take a GiB before their turn comes."""

log = logging.getLogger(__name__)


def report_existing(
    volume: Volume, manifest: Manifest, inventory: Inventory, missing: MissingFiles, plan: Plan
) -> None:
    """Log which files the `missing` ones will replace, and which stay that the artifact no longer has.

    If the plan allows it, the latter are removed once the artifact is complete; if not, VolumeError is raised where
    files of another artifact would be replaced.
    """
    there = missing.present
    broken = check_replacement(str(volume.target), manifest, inventory.listed, there, replace=plan.replace)
    if updated := (there - broken) & inventory.ours:
        log.info("replacing %s of an earlier download: %s", _count(updated), names_text(updated))
    if unlisted := there - inventory.ours:
        log.warning("replacing %s that other programs have put here: %s", _count(unlisted), names_text(unlisted))
    _report_older(volume, manifest, inventory, plan)


def require_room(volume: Volume, inventory: Inventory, missing: MissingFiles, needed: int, plan: Plan) -> None:
    """Raise NoSpace unless `needed` bytes fit.

    If the plan allows it, the files of earlier runs that will be replaced are removed to make room: an operator's
    volume is as large as one revision.
    """
    outdated = removed_first(volume, inventory, missing, needed, plan)
    if outdated:
        log.warning("removing %s first, because there is not enough space for both", _count(outdated))
        volume.remove_outdated(outdated)
        volume.require_space(needed, len(missing))


def removed_first(volume: Volume, inventory: Inventory, missing: MissingFiles, needed: int, plan: Plan) -> list[str]:
    """Return the files of earlier runs that have to be removed before `needed` bytes fit; mostly none.

    Raises NoSpace if they do not fit even then, or if the plan does not allow it.
    """
    try:
        volume.require_space(needed, len(missing))
    except NoSpace:
        outdated = sorted(missing.present & inventory.ours)
        if not outdated or not plan.make_room:
            raise
        volume.require_space(max(0, needed - volume.allocated(outdated)), len(missing))
        return outdated
    return []


def sort_existing(inventory: Inventory, plan: Plan) -> tuple[Sequence[InventoryEntry], Sequence[InventoryEntry]]:
    """Return the files that are kept by their record, and those that have to be hashed."""
    verified = inventory.having(FileState.VERIFIED)
    if all(map(plan.accepts_proof, inventory.entries.proofs)):
        return verified, inventory.having(FileState.UNVERIFIED)
    accepted = [entry for entry in verified if plan.accepts_proof(entry.proof)]
    # An earlier run, with other options, was content with less for the others.
    others = [entry for entry in verified if not plan.accepts_proof(entry.proof)]
    return accepted, [*inventory.having(FileState.UNVERIFIED), *others]


def hash_existing(
    volume: Volume, unverified: Iterable[InventoryEntry], plan: Plan, meter: ProgressMeter, ending: Cancellation
) -> Iterator[InventoryEntry | None]:
    """Hash files on the volume, several at once: after a kill that may be most of the artifact.

    Yields each entry as it is verified, in their order, and None for one whose bytes are wrong.
    """
    files = HashingProgress()

    def progress(count: int) -> None:
        ending.check()
        files.add(count)

    def check(entry: InventoryEntry) -> InventoryEntry | None:
        files.begin(entry.file.path, entry.file.size)
        return volume.check(entry, progress, plan.content)

    with meter.showing(files.progress), ThreadPoolExecutor(hashing_threads(), thread_name_prefix="check") as pool:
        yield from _results(pool, check, unverified)


def _results(
    pool: Executor,
    check: Callable[[InventoryEntry], InventoryEntry | None],
    entries: Iterable[InventoryEntry],
) -> Iterator[InventoryEntry | None]:
    """Yield what `check` returns of each entry, in their order, while the next ones are checked."""
    waiting: deque[Future[InventoryEntry | None]] = deque()
    try:
        for entry in entries:
            waiting.append(pool.submit(check, entry))
            if len(waiting) == MAX_CHECKED:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def older_files(manifest: Manifest, inventory: Inventory, plan: Plan) -> dict[str, str]:
    """Return path → revision of the files that the same request has fetched before, and that the artifact lacks now."""
    if plan.keeps_revisions:
        return {}
    current = Paths(manifest.paths)
    wanted = (manifest.origin, manifest.revision or "")
    return {
        path: origin.revision
        for path, origin in inventory.listed.items()
        if origin.uri == manifest.origin
        and path not in current
        and manifest.may_have(path)
        and plan.file_filter.wants(path)
        # A revision does not change: files of it that are not listed now were fetched with other filters.
        if origin != wanted or not origin.revision
    }


def _report_older(volume: Volume, manifest: Manifest, inventory: Inventory, plan: Plan) -> None:
    """Log what stays of what the same request has fetched before, or have it removed."""
    older = older_files(manifest, inventory, plan)
    if not older:
        return
    revision = older[min(older)]
    what = f"{_count(older)} of {manifest.origin}" + (f" at revision {revision}" if revision else "")
    if plan.removes_older:
        log.info("%s will be removed once the artifact is complete: %s", what, names_text(older))
        volume.remove_when_published(older)
    else:
        log.warning(
            "still here, though the artifact no longer has it (--prune removes it): %s: %s", what, names_text(older)
        )


def _count(paths: Collection[str]) -> str:
    return format_count(len(paths), "file")
