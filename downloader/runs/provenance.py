"""What a bill of materials needs: its library, and what the owners of an artifact say of it."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING

from downloader.errors import ConfigurationError, DownloadError
from downloader.sources import Described, ability

if TYPE_CHECKING:
    from downloader.artifact import ModelCard
    from downloader.config import Settings
    from downloader.sources import Source

log = logging.getLogger(__name__)


def require_bom(settings: Settings) -> None:
    """Raise ConfigurationError if a bill of materials is asked for and cannot be made."""
    if settings.reporting.bom is not None and importlib.util.find_spec("cyclonedx") is None:
        hint = "pip install 'artifact-downloader[bom]', or take the image whose tag ends in -full"
        raise ConfigurationError("a bill of materials needs cyclonedx-python-lib, which is not here", hint=hint)


def model_card(source: Source, settings: Settings) -> ModelCard | None:
    """Return what the owners of an artifact say of it; None if no bill of materials is wanted, or they say nothing."""
    described = ability(source, Described) if settings.reporting.bom is not None else None
    try:
        return None if described is None else described.card()
    except DownloadError as error:
        log.warning("the bill of materials lacks licence and base model: %s", error.message)
        return None
