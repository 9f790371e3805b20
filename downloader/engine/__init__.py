"""The engine: lists an artifact, checks what is on the volume, and makes an attempt along each route."""

from downloader.engine.engine import Engine
from downloader.engine.finalizer import CheckedFinalizer, Finalizer, PublishAsDownloaded, Requirement
from downloader.engine.places import Place, Route, only_routes
from downloader.engine.plan import EarlyCheck, Outcome, Plan, effective_sequence
from downloader.engine.preview import PlannedFile, Preview, Previewer

__all__ = [
    "CheckedFinalizer",
    "EarlyCheck",
    "Engine",
    "Finalizer",
    "Outcome",
    "Place",
    "Plan",
    "PlannedFile",
    "Preview",
    "Previewer",
    "PublishAsDownloaded",
    "Requirement",
    "Route",
    "effective_sequence",
    "only_routes",
]
