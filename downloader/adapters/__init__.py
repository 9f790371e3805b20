"""The adapter disk: one volume for the LoRA adapters of many services, kept by three commands (`docs/adapters.md`).

Each command may be killed at any moment, since two rules hold. What readers see changes by one rename of something
complete. And nothing is removed, and nothing incomplete is written, under a name that another process reads.
"""

from downloader.adapters.paths import AdapterPaths
from downloader.adapters.reap import Reaper
from downloader.adapters.stage import Staging
from downloader.adapters.sync import sync_service

__all__ = ["AdapterPaths", "Reaper", "Staging", "sync_service"]
