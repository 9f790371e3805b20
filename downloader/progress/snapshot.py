"""`Snapshot`: one reading of the progress meter."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downloader.artifact import TransferProtocol
    from downloader.errors import DownloadError


class Phase(StrEnum):
    """What a run is doing."""

    LISTING = "listing"
    WAITING = "waiting"
    CHECKING = "checking"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    HASHING = "hashing"
    """The command `verify` reads a volume; nothing is downloaded."""
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a run."""

    protocol: TransferProtocol
    number: int
    """1-based position in the sequence. It begins again if the source changes during the run."""
    seconds: float
    received_bytes: int
    discarded_bytes: int
    files_left: int | None
    """Files that the attempt left missing; None while it goes on, or where the run ended before it did."""
    error: DownloadError | None
    """Why it ended, if files were left."""
    place: str = ""
    """The origin or the mirror that was asked; empty in a run without mirrors."""


@dataclass(frozen=True, slots=True)
class FileProgress:
    """A file that is being transferred."""

    path: str
    done_bytes: int
    """Bytes on the volume."""
    size: int | None
    """None until the server has told it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run at one moment, and the only thing that reporters and the watchdog are given."""

    phase: Phase = Phase.LISTING
    total_bytes: int = 0
    """Bytes of the whole artifact; 0 until it has been listed."""
    done_bytes: int = 0
    """Bytes on the volume that need not be fetched again. Never falls during a run and never exceeds the total."""
    received_bytes: int = 0
    """Bytes that came over the network in this run, also those fetched twice."""
    reused_bytes: int = 0
    """Bytes that were on the volume when the run began, and that it kept."""
    discarded_bytes: int = 0
    """Bytes that were removed from the volume again, since their digest was wrong."""
    total_files: int = 0
    done_files: int = 0
    """Files that have their final name."""
    protocol: TransferProtocol | None = None
    attempt: int = 0
    """1-based position in the sequence; 0 before the first attempt."""
    digest: str = ""
    """The artifact digest; empty before the end of a successful download."""
    sequence: tuple[TransferProtocol, ...] = ()
    """The protocols in force, in order."""
    attempts: tuple[Attempt, ...] = field(default=(), compare=False)
    """All attempts so far, the last one of which may be going on. Equal states may have another past."""
    phases: tuple[tuple[Phase, float], ...] = field(default=(), compare=False)
    """Seconds in each phase so far."""
    rate: float = 0.0
    """Bytes per second over the last seconds, counting only bytes that stay on the volume."""
    eta: float | None = None
    """Seconds until the last byte at this rate; None where the rate allows no forecast."""
    place: str = ""
    """The origin or the mirror that is asked, as a URI without secrets; empty in a run without mirrors."""
    message: str = ""
    """One sentence for people: why the protocol changed, what the run waits for, how it ended."""
    waiting: str = ""
    """Why no byte arrives: a pause that the server asked for, or an error that is being retried. Empty otherwise."""
    wait_left: float | None = None
    """Seconds until the wait ends or its error is final; None while `waiting` is empty."""
    stuck_volume: str = ""
    """The operation on the volume that does not return, and for how long it has run. Empty otherwise."""
    host: str = ""
    """Where bytes come from: the last host that joined in this attempt or listing. A redirect to another adds it."""
    processes: int = 1
    """How many processes share the work, this one included. `done_bytes` is the sum over all of them."""
    leads: bool = True
    """This process speaks for the run: of several that share the work, the one that publishes or finds it done."""
    succeeds: bool = False
    """It leads in the place of another process, which may have shown more than is on the volume now: what that had
    fetched and not yet recorded is lost."""
    responses: int = 0
    """Complete responses to requests other than for files, such as pages of a listing."""
    files: tuple[FileProgress, ...] = ()
    """The files that are being transferred or hashed, oldest first."""

    @property
    def complete(self) -> bool:
        """Whether every byte is on the volume: only verification is left, or the run is done."""
        return self.phase in (Phase.VERIFYING, Phase.DONE)

    @property
    def percentage(self) -> int:
        """0..100; 100 exactly when every byte is on the volume."""
        if self.complete:
            return 100
        if self.total_bytes <= 0:
            return 0
        return min(99, self.done_bytes * 100 // self.total_bytes)
