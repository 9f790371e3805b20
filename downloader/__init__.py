"""Downloads AI model artifacts to a volume and verifies every byte. `docs/how-it-works.md` is the map.

The names below are the Python API: `from downloader import download`. `docs/python.md` shows how to use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from downloader.version import __version__

if TYPE_CHECKING:
    from downloader.api import (
        Artifact,
        ArtifactFile,
        Options,
        diagnose,
        digest,
        download,
        list_files,
        plan,
        size,
        verify,
    )
    from downloader.cancellation import Cancellation
    from downloader.doctor import Diagnosis, Finding, Level
    from downloader.engine import PlannedFile, Preview
    from downloader.errors import DownloadError
    from downloader.presets import Preset
    from downloader.progress import Attempt, Phase, Snapshot
    from downloader.reporters.run_report import FileReport, RunReport
    from downloader.volume import Verification

__all__ = [
    "Artifact",
    "ArtifactFile",
    "Attempt",
    "Cancellation",
    "Diagnosis",
    "DownloadError",
    "FileReport",
    "Finding",
    "Level",
    "Options",
    "Phase",
    "PlannedFile",
    "Preset",
    "Preview",
    "RunReport",
    "Snapshot",
    "Verification",
    "__version__",
    "diagnose",
    "digest",
    "download",
    "list_files",
    "plan",
    "size",
    "verify",
]

_HOMES = {
    "Attempt": "progress",
    "Cancellation": "cancellation",
    "Diagnosis": "doctor",
    "DownloadError": "errors",
    "Finding": "doctor",
    "Level": "doctor",
    "FileReport": "reporters.run_report",
    "Phase": "progress",
    "PlannedFile": "engine",
    "Preset": "presets",
    "Preview": "engine",
    "RunReport": "reporters.run_report",
    "Snapshot": "progress",
    "Verification": "volume",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what a name of the API stands for
    """Import the API when it is asked for: the command line pays for each library only where it uses it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - as above

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'api')}"), name)
