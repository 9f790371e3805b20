"""Suspicious settings: misspelt names, and an invalid value of the one variable that must not fail a run."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from downloader.config.adapters import AdapterReapSettings, AdapterStageSettings, AdapterSyncSettings
from downloader.config.cluster import ClusterSettings
from downloader.config.debug import DebugSettings
from downloader.config.display import DisplaySettings
from downloader.config.env import documented, shown_value
from downloader.config.formats import FormatSettings
from downloader.config.hub import HubSettings
from downloader.config.job import LOG_FORMATS, LOG_LEVELS, JobSettings
from downloader.config.kserve import KServeSettings
from downloader.config.proxies import ProxySettings
from downloader.config.reporting import ReportingSettings
from downloader.config.s3 import S3Settings
from downloader.config.sharing import SharingSettings
from downloader.config.signing import SignatureSettings
from downloader.config.web import WebSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

SECTIONS: tuple[type[Any], ...] = (
    JobSettings,
    SharingSettings,
    ReportingSettings,
    SignatureSettings,
    FormatSettings,
    DisplaySettings,
    HubSettings,
    WebSettings,
    ProxySettings,
    S3Settings,
    KServeSettings,
    ClusterSettings,
    AdapterStageSettings,
    AdapterReapSettings,
    AdapterSyncSettings,
    DebugSettings,
)
"""All sections, in the order of the reference page."""
OURS = "AIM_"
MAX_SHOWN_LENGTH = 60
SHARED = ("HF_", "AWS_", "S3_", "STORAGE_", "ARTIFACT_", "TARGET", "STALL_", "PROGRESS_", "EXPECTED_")
"""How the names of variables begin that other programs may have, too."""


def suspicious_settings(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that has no effect. Names without our prefix may be for other programs."""
    level = environ.get("AIM_LOG_LEVEL", "").strip()
    if level and level.lower() not in LOG_LEVELS:
        yield f"AIM_LOG_LEVEL: {shown_value(level)} is not one of {', '.join(LOG_LEVELS)}, so it is info"
    form = environ.get("AIM_LOG_FORMAT", "").strip()
    if form and form.lower() not in LOG_FORMATS:
        yield f"AIM_LOG_FORMAT: {shown_value(form)} is not one of {', '.join(LOG_FORMATS)}, so it is text"
    known = set(known_names())
    for name in sorted(environ):
        if name.startswith(OURS) and environ[name].strip() and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            meant = f"is {near[0]} meant?" if near else "it is for another program, or misspelt"
            yield f"the variable {name[:MAX_SHOWN_LENGTH]} is not known here: {meant}"


def known_names() -> Iterator[str]:
    """Yield the name of every variable that is read."""
    for section in SECTIONS:
        for _, facts in documented(section):
            yield from facts.names
            if section is S3Settings:
                yield from (f"{name}_FILE" for name in facts.names)


def near_names(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that looks like a misspelt one of ours, though it may be another program's.

    Only for people who ask: a log must not warn of what other programs need.
    """
    known = set(known_names())
    for name in sorted(environ):
        if name.startswith(SHARED) and environ[name].strip() and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
            if near:
                yield f"the variable {name[:MAX_SHOWN_LENGTH]} has no effect here: is {near[0]} meant?"
