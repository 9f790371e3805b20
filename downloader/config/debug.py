"""The operator's debug switches, which its end-to-end suite sets to simulate downloads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.config.env import count, duration, present, variable
from downloader.config.job_values import protocols

if TYPE_CHECKING:
    from downloader.artifact import TransferProtocol

MAX_CALLS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugSettings:
    """Debug switches; any value enables them."""

    cause_hang: bool = variable(
        "AIM_DEBUG_CAUSE_HANG",
        "no byte arrives; the watchdog ends the only attempt",
        parse=present,
        default=False,
    )
    cause_failure: bool = variable("AIM_DEBUG_CAUSE_FAILURE", "fail at once", parse=present, default=False)
    simulate_download: bool = variable(
        "AIM_DEBUG_SIMULATE_DOWNLOAD",
        "no network: a file of EXPECTED_SIZE_BYTES (or 1 MiB) is written in two halves and then verified",
        parse=present,
        default=False,
    )
    download_duration: float = variable(
        "AIM_DEBUG_DOWNLOAD_DURATION", "seconds between the two halves", parse=duration, default=10.0
    )
    verify_duration: float = variable(
        "AIM_DEBUG_VERIFY_DURATION", "duration of the verification in seconds", parse=duration, default=10.0
    )
    verify_fail: bool = variable("AIM_DEBUG_VERIFY_FAIL", "the verification fails", parse=present, default=False)
    simulate_hub: bool = variable(
        "AIM_DEBUG_SIMULATE_HF_DOWNLOAD",
        "no network for hf://: each protocol runs for some time, and then fails or writes 100 KiB",
        parse=present,
        default=False,
    )
    hub_duration: float = variable(
        "AIM_DEBUG_SIMULATE_HF_DURATION", "seconds that each protocol runs", parse=duration, default=2.0
    )
    hub_failing: tuple[TransferProtocol, ...] = variable(
        "AIM_DEBUG_SIMULATE_HF_FAIL_PROTOCOLS", "protocols that fail", parse=protocols, default=()
    )
    hub_hanging: tuple[TransferProtocol, ...] = variable(
        "AIM_DEBUG_SIMULATE_HF_HANG_PROTOCOLS",
        "the same simulation, in which these protocols first hang",
        parse=protocols,
        default=(),
    )
    hub_hang_duration: float = variable(
        "AIM_DEBUG_SIMULATE_HF_HANG_DURATION", "seconds that they hang", parse=duration, default=300.0
    )
    look_duration: float = variable(
        "AIM_DEBUG_SIMULATE_DU_HANG_SECONDS",
        "duration in seconds of the first checks of the volume by the progress monitor; the run does not wait for them",
        parse=duration,
        default=0.0,
    )
    slow_looks: int = variable(
        "AIM_DEBUG_SIMULATE_DU_HANG_CALLS", "number of these checks", parse=count(1, MAX_CALLS), default=1
    )
