"""What else is in the target: files of another artifact, of another revision of this one, or of somebody else.

Nothing of that is replaced in silence. An artifact at another revision, or with other filters, is what a target is run
again for, so it goes on. Another artifact would break the one that is there, so it needs the user's word.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.errors import VolumeError
from downloader.volume import State
from downloader.words import names_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from downloader.artifact import Manifest
    from downloader.volume import Holding, Survey, Volume

log = logging.getLogger(__name__)


def settle_neighbours(
    volume: Volume, manifest: Manifest, survey: Survey, missing: Sequence[Holding], *, replace: bool
) -> None:
    """Say which files will be replaced by the `missing` ones, and which of an older revision stay.

    With `replace`, those of an older revision are removed once this one is complete. Raises VolumeError if files of
    another artifact would be replaced without it.
    """
    present = {holding.file.path for holding in missing if holding.replaces or holding.state is State.UNPROVED}
    foreign = {path: origin for path, origin in survey.listed.items() if origin.uri != manifest.origin}
    broken = present & foreign.keys()
    if broken and not replace:
        raise VolumeError(
            f"{volume.target} holds {foreign[min(broken)].uri}, and {manifest.uri} would replace {_count(broken)} of"
            f" it: {names_text(broken)}",
            hint="use another target folder, or allow it with --replace (AIM_REPLACE=true)",
        )
    if broken:
        log.warning("replacing %s of %s: %s", _count(broken), foreign[min(broken)].uri, names_text(broken))
    updated = (present - broken) & survey.listed.keys()
    if updated:
        old = survey.listed[min(updated)].revision
        log.info("replacing %s of %s: %s", _count(updated), f"revision {old}" if old else "old", names_text(updated))
    if unlisted := present - survey.ours:
        log.warning("replacing %s that other programs have put here: %s", _count(unlisted), names_text(unlisted))
    _settle_older(volume, manifest, survey, replace=replace)


def _settle_older(volume: Volume, manifest: Manifest, survey: Survey, *, replace: bool) -> None:
    """Say what stays of another revision of the artifact, or have it removed."""
    current = {file.path for file in manifest.files}
    older = {
        path: origin.revision
        for path, origin in survey.listed.items()
        if origin.uri == manifest.origin and path not in current
    }
    if not older:
        return
    what = f"{_count(older)} of {manifest.origin} at revision {older[min(older)]}"
    if replace:
        log.info("%s will be removed once revision %s is complete: %s", what, manifest.revision, names_text(older))
        volume.remove_when_published(older)
    else:
        log.warning(
            "%s stay beside those at %s (--replace removes them): %s", what, manifest.revision, names_text(older)
        )


def _count(paths: Sequence[str] | set[str] | dict[str, str]) -> str:
    return "1 file" if len(paths) == 1 else f"{len(paths)} files"
