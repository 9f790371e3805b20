"""The adapter disk: one volume for the LoRA adapters of many services (`docs/adapters.md`).

Two rules make it safe to kill any of them at any moment. What readers see changes by one rename of something whole.
And nothing is removed, and nothing half-done is published, under a name that another process may take it for.
"""

from downloader.adapters.paths import AdapterPaths
from downloader.adapters.reap import Reaper
from downloader.adapters.stage import Staging
from downloader.adapters.sync import sync_service

__all__ = ["AdapterPaths", "Reaper", "Staging", "sync_service"]
