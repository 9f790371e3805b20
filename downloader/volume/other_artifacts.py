"""Files of another artifact in the same target: it would break if they were replaced, so that needs the user's word."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from downloader.errors import VolumeError
from downloader.formatting import names_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from downloader.artifact import Manifest
    from downloader.volume.inventory import Inventory

_log = logging.getLogger(__name__)


def check_replacement(
    target: str, manifest: Manifest, inventory: Inventory, paths: Collection[str], *, replace: bool
) -> set[str]:
    """Return those of the paths to be replaced that are files of another artifact, and say so.

    Raises VolumeError if there are any and `replace` does not allow it.
    """
    foreign = {
        path: inventory.listed[path].uri
        for path in paths
        if path in inventory.listed and inventory.listed[path].uri != manifest.origin
    }
    if not foreign:
        return set()
    what, uri = "1 file" if len(foreign) == 1 else f"{len(foreign)} files", foreign[min(foreign)]
    if not replace:
        raise VolumeError(
            f"{target} holds {uri}, and {manifest.uri} would replace {what} of it: {names_text(foreign)}",
            hint="use another target folder, or allow it with --replace (AIM_REPLACE=true)",
        )
    _log.warning("replacing %s of %s: %s", what, uri, names_text(foreign))
    return set(foreign)
