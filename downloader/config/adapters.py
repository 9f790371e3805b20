"""The environment of the operator's three adapter Jobs."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from downloader.config.env import MAX_DIGITS, Malformed, items, path, present, read, variable
from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
_RULE = "1 to 253 letters, digits, '_', '-' and '.', and begins with none of the last two"
_DEFAULT_RANK = 16


def is_name(text: str) -> bool:
    """Tell whether a service, an adapter or a Job can have this name: those that Kubernetes allows, and a few more.

    Control folders, `lost+found`, hidden folders and folders of storage systems never have such a name.
    """
    return _NAME.fullmatch(text) is not None


def name(text: str) -> str:
    """Parse a name that becomes a folder."""
    if not is_name(text):
        raise Malformed(f"a name: it has {_RULE}")
    return text


def names(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of names.

    One invalid item makes the whole list invalid: a list that is misread would remove what it should keep.
    """
    found = items(text)
    if not found or not all(map(is_name, found)):
        raise Malformed(f"a comma list of names: each has {_RULE}")
    return found


def seconds_or_zero(text: str) -> float:
    """Parse a number of seconds; anything else means 0."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return max(0.0, value) if math.isfinite(value) else 0.0


def rank(text: str) -> int:
    """Parse ADAPTER_RANK; invalid values mean the default, since only the simulation writes it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else _DEFAULT_RANK


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterStageSettings:
    """The entry point `/adapter-stage.sh`."""

    root: Path = variable("ADAPTER_PVC_ROOT", "mount point of the adapter disk (required)", parse=path)
    service: str = variable("SERVICE_ID", "the service's folder on the adapter disk (required)", parse=name, default="")
    adapter: str = variable(
        "ADAPTER_PATH", "the adapter's folder in the service's folder (required)", parse=name, default=""
    )
    job: str = variable(
        "JOB_ID",
        "identifies the Job: a retry with the same value resumes the download",
        parse=name,
        default="",
        default_text="the process id",
    )
    base_model: str = variable("ADAPTER_BASE_MODEL_ID", "base model of a simulated adapter", default="unknown")
    rank: int = variable("ADAPTER_RANK", "rank of a simulated adapter", parse=rank, default=_DEFAULT_RANK)
    simulated: bool = variable(
        "AIM_DEBUG_SIMULATE_PROMOTE", "promote a simulated adapter, without network", parse=present, default=False
    )
    simulated_seconds: float = variable(
        "AIM_DEBUG_DOWNLOAD_DURATION", "duration of the simulation in seconds", parse=seconds_or_zero, default=2.0
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> AdapterStageSettings:
        """Read an environment. Raises ConfigurationError, whose message names all missing and invalid variables."""
        problems: list[str] = []
        settings = read(cls, environ, problems)
        _require(environ, ("ADAPTER_PVC_ROOT", "SERVICE_ID", "ADAPTER_PATH"), problems)
        return settings if settings.job else replace(settings, job=str(os.getpid()))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterReapSettings:
    """The entry point `/adapter-reap.sh`."""

    root: Path = variable("ADAPTER_PVC_ROOT", "mount point of the adapter disk (required)", parse=path)
    keep: tuple[str, ...] = variable(
        "KEEP_SERVICE_IDS",
        "comma-separated list of existing services; it must be set, and may be empty if no service exists",
        parse=names,
        default=(),
    )
    min_age: float = variable(
        "MIN_AGE_SECONDS",
        "minimum age in seconds of what is removed",
        parse=seconds_or_zero,
        default=0.0,
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> AdapterReapSettings:
        """Read an environment. Raises ConfigurationError, whose message names all missing and invalid variables."""
        problems: list[str] = []
        settings = read(cls, environ, problems)
        _require_list(environ, "KEEP_SERVICE_IDS", problems)
        _require(environ, ("ADAPTER_PVC_ROOT",), problems)
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSyncSettings:
    """The entry point `/adapter-subtree-sync.sh`."""

    root: Path = variable("ADAPTER_PVC_ROOT", "mount point of the adapter disk (required)", parse=path)
    service: str = variable("SERVICE_ID", "the service's folder on the adapter disk (required)", parse=name, default="")
    keep: tuple[str, ...] = variable(
        "KEEP_ADAPTER_PATHS",
        "comma-separated list of the adapters that the service declares; it must be set, and may be empty if it"
        " declares none",
        parse=names,
        default=(),
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> AdapterSyncSettings:
        """Read an environment. Raises ConfigurationError, whose message names all missing and invalid variables."""
        problems: list[str] = []
        settings = read(cls, environ, problems)
        _require_list(environ, "KEEP_ADAPTER_PATHS", problems)
        _require(environ, ("ADAPTER_PVC_ROOT", "SERVICE_ID"), problems)
        return settings


def _require_list(environ: Mapping[str, str], key: str, problems: list[str]) -> None:
    """Distinguish a list that is missing by mistake from one that is empty on purpose."""
    text = environ.get(key)
    if text is None or (text and not text.strip()):
        problems.append(f"{key} is not set: it is a comma list, and empty only if nothing is to be kept")


def _require(environ: Mapping[str, str], required: tuple[str, ...], problems: list[str]) -> None:
    problems.extend(f"{key} is required" for key in required if not environ.get(key, "").strip())
    if problems:
        raise ConfigurationError("; ".join(problems), hint="nothing was changed; docs/adapters.md lists the variables")
