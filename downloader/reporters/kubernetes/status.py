"""The status of an AIMArtifact that shows a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from downloader.formatting import format_duration, format_size, single_line
from downloader.progress import Phase

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from downloader.progress import Snapshot

MESSAGE_LIMIT: Final = 1024
"""Characters. etcd stores the whole object at each write, and the error text of a server may be of any length."""

_WHILE: Final = {
    Phase.LISTING: "listing the source",
    Phase.WAITING: "waiting for the volume",
    Phase.CHECKING: "checking what is on the volume",
    Phase.DOWNLOADING: "downloading",
    Phase.VERIFYING: "verifying",
    Phase.HASHING: "verifying",
    Phase.DONE: "complete",
    Phase.FAILED: "failed",
}


class Figures(NamedTuple):
    """How far an artifact has come, as its status says."""

    total: int = 0
    done: int = 0
    percentage: int = 0

    @classmethod
    def of(cls, thing: object) -> Self:
        """Return those of an AIMArtifact as the API server has it. The operator leaves out what is zero."""
        match thing:
            case {"status": {"progress": {**progress}}}:
                values = (progress.get(name) for name in ("totalBytes", "downloadedBytes", "percentage"))
                return cls(*(value if isinstance(value, int) else 0 for value in values))
        return cls()


NOTHING: Final = Figures()


@dataclass(frozen=True, slots=True)
class Status:
    """A status as it is written, and what decides how soon it has to be."""

    stage: tuple[object, ...]
    """A change of this is written at once."""
    message: str
    """The text without the numbers; a change of it is written soon."""
    complete: bool
    """All bytes are on the volume: the signal that only verification is left."""
    stuck_volume: str
    progress: dict[str, Any]
    download: dict[str, Any]

    @property
    def patch(self) -> dict[str, Any]:
        """The merge patch that writes it. None removes what an earlier pod has written."""
        return {"status": {"progress": self.progress, "download": self.download}}

    @property
    def has_figures(self) -> bool:
        """Whether it says how far the artifact has come. If not, what the object says of that stays."""
        return "percentage" in self.progress


def status_of(
    snapshot: Snapshot,
    before: Status | None = None,
    *,
    complete: bool | None = None,
    redact: Callable[[str], str] = str,
    shown: Figures | None = NOTHING,
) -> Status:
    """Return the status that shows `snapshot`, where `before` is the one that was written last.

    `complete` says of a failed run whether only verification was left. Then the percentage stays 100, by which the
    operator distinguishes a failed verification from a failed download. `redact` removes secrets from a text. The
    figures do not fall behind those that have been `shown` by the process whose place this one has taken; as long as
    these are not known (None), it shows none of its own, unless they are the highest that there are.
    """
    if complete is None:
        complete = snapshot.complete
    stuck_volume = single_line(redact(_stuck_volume(snapshot, before, complete=complete)), MESSAGE_LIMIT)
    message = redact(snapshot.waiting or snapshot.message or _origin_of(snapshot)) or _WHILE[snapshot.phase]
    progress: dict[str, Any] = {"message": stuck_volume or None}
    if shown is not None or complete:
        progress |= _figures(snapshot, shown or NOTHING, complete=complete)
    download = {
        "protocol": None if snapshot.protocol is None else str(snapshot.protocol),
        "attempt": snapshot.attempt or None,
        "totalAttempts": len(snapshot.sequence) or None,
        "protocolSequence": ",".join(snapshot.sequence) or None,
        "message": single_line(message + _company(snapshot) + _pace(snapshot), MESSAGE_LIMIT),
    }
    stage = (snapshot.phase, snapshot.protocol, snapshot.attempt, snapshot.sequence, bool(stuck_volume))
    return Status(stage, message, complete, stuck_volume, progress, download)


def _figures(snapshot: Snapshot, shown: Figures, *, complete: bool) -> dict[str, Any]:
    done, percentage = snapshot.done_bytes, 100 if complete else snapshot.percentage
    if shown.total == snapshot.total_bytes:
        # Only verification was left, and that begins again: until it turns out that bytes are missing, this holds.
        is_open = snapshot.phase in (Phase.WAITING, Phase.CHECKING)
        percentage = max(percentage, shown.percentage if is_open else min(99, shown.percentage))
        done = max(done, min(shown.done, shown.total))
    figures = {"downloadedBytes": done, "percentage": percentage, "displayPercentage": f"{percentage} %"}
    if snapshot.total_bytes or complete:
        # Before the source has been listed the total is unknown: the one that the last pod wrote is the best guess.
        figures["totalBytes"] = snapshot.total_bytes
    return figures


def _origin_of(snapshot: Snapshot) -> str:
    """Return which place of a run with mirrors serves the bytes."""
    return f"downloading from {snapshot.place}" if snapshot.place and snapshot.phase is Phase.DOWNLOADING else ""


def _stuck_volume(snapshot: Snapshot, before: Status | None, *, complete: bool) -> str:
    if snapshot.phase in (Phase.DONE, Phase.FAILED):
        return ""  # no later patch would clear it
    if complete and not (before and before.complete):
        return ""  # the signal comes without it; if the volume is stuck now, the next patch says so
    said = snapshot.stuck_volume.strip()
    if said and before and before.stuck_volume:
        return before.stuck_volume  # written once: its duration is not worth a patch
    return said


def _company(snapshot: Snapshot) -> str:
    """Return how many processes share the work, if they are more than one."""
    return f" ({snapshot.processes} processes)" if snapshot.processes > 1 else ""


def _pace(snapshot: Snapshot) -> str:
    """Return the numbers that follow the message; a change of them alone does not count as a new message."""
    if snapshot.wait_left is not None:
        return f" ({format_duration(snapshot.wait_left)} to go)"
    if snapshot.phase is not Phase.DOWNLOADING or snapshot.rate <= 0:
        return ""
    left = "" if snapshot.eta is None else f", {format_duration(snapshot.eta)} left"
    return f"; {format_size(snapshot.rate)}/s{left}"
