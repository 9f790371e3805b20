"""The engine: lists an artifact, checks what is on the volume, and runs an attempt for each protocol."""

from downloader.engine.engine import Engine
from downloader.engine.plan import Outcome, Plan, in_force

__all__ = ["Engine", "Outcome", "Plan", "in_force"]
