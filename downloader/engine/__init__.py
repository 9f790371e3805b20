"""The engine: lists an artifact, checks what is on the volume, and runs an attempt for each protocol."""

from downloader.engine.engine import Engine
from downloader.engine.finalizer import Finalizer, PublishAsDownloaded
from downloader.engine.plan import Outcome, Plan, effective_sequence
from downloader.engine.preview import PlannedFile, Preview, Previewer

__all__ = [
    "Engine",
    "Finalizer",
    "Outcome",
    "Plan",
    "PlannedFile",
    "Preview",
    "Previewer",
    "PublishAsDownloaded",
    "effective_sequence",
]
