"""Where an artifact is from: what its owners say of it, and who has signed it."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.errors import ConfigurationError, DownloadError
from downloader.signing import SignedFinalizer
from downloader.sources import Described, ability

if TYPE_CHECKING:
    from downloader.artifact import ModelCard
    from downloader.config import Settings
    from downloader.engine import Finalizer
    from downloader.sources import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of the origin of an artifact besides its source."""

    card: ModelCard | None = None
    """None if the source was not asked for it, or has none."""
    signer: str = ""
    """Who has signed it, in words; empty if no signature was verified."""


def require_bom(settings: Settings) -> None:
    """Raise ConfigurationError if a bill of materials is asked for and cannot be made."""
    if settings.reporting.bom is not None and importlib.util.find_spec("cyclonedx") is None:
        hint = "pip install 'artifact-downloader[bom]', or take the image whose tag ends in -full"
        raise ConfigurationError("a bill of materials needs cyclonedx-python-lib, which is not here", hint=hint)


def provenance(source: Source, settings: Settings, finalizer: Finalizer | None) -> Provenance:
    """Return what is known of a published artifact. The source is asked only if a bill of materials is wanted."""
    signer = finalizer.signer if isinstance(finalizer, SignedFinalizer) else ""
    described = ability(source, Described) if settings.reporting.bom is not None else None
    if described is None:
        return Provenance(signer=signer)
    try:
        return Provenance(described.card(), signer)
    except DownloadError as error:
        log.warning("the bill of materials lacks licence and base model: %s", error.message)
        return Provenance(signer=signer)
