"""Events of a run: what a line of the JSON log says besides its message. `docs/events.md` is made from these classes.

An event belongs to a log record: `log.info("…", extra=AttemptStarted(…).extra())`. The text log ignores it. Any
change of the lines other than an additional field or event needs a new `SCHEMA`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA: Final = 1
"""The version of the lines."""
ATTRIBUTE: Final = "run_event"
"""The attribute of a log record that has its event."""


def fact(meaning: str) -> Any:  # noqa: ANN401 - the field's own annotation says what it is
    """Declare a field of an event; the page says what it means."""
    return field(metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What has happened in a run."""

    name: ClassVar[str] = ""
    json_only: ClassVar[bool] = False
    """The text log leaves the record out, since it says the same elsewhere."""

    def extra(self) -> Mapping[str, Event]:
        """Return the `extra` of a log call."""
        return {ATTRIBUTE: self}

    def facts(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run begins."""

    name: ClassVar[str] = "run_started"
    json_only: ClassVar[bool] = True
    uri: str = fact("the artifact, without secrets")
    target: str = fact("the folder that it is downloaded to")
    version: str = fact("of this program")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed(Event):
    """The source has listed the artifact. Left out where the volume is complete; repeated if the source changes."""

    name: ClassVar[str] = "listed"
    json_only: ClassVar[bool] = True
    files: int = fact("number of files")
    bytes: int = fact("bytes of all files whose size is known")
    revision: str | None = fact("commit, where the source has commits")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(Event):
    """An attempt with one protocol begins."""

    name: ClassVar[str] = "attempt_started"
    protocol: str = fact("the protocol")
    attempt: int = fact("position in the protocol sequence, from 1")
    attempts: int = fact("length of the protocol sequence")
    files: int = fact("number of files that are missing")
    place: str = fact("URI of the origin or mirror that is asked, without secrets; empty without mirrors")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolSwitched(Event):
    """An attempt left files, and the next protocol continues."""

    name: ClassVar[str] = "protocol_switched"
    protocol: str = fact("the protocol that left files")
    next: str = fact("the protocol that continues")
    files: int = fact("number of files that are left")
    error: str = fact("class of the error, see Exit status; empty where a mirror just has no more of them")
    reason: str = fact("the error in words")
    place: str = fact("the place that left files; empty without mirrors")
    next_place: str = fact("the place that continues; empty without mirrors")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCommitted(Event):
    """A file is verified and has its final name. Level `debug`."""

    name: ClassVar[str] = "file_committed"
    path: str = fact("relative to the target")
    size: int = fact("bytes")
    sha256: str = fact("digest of the file")
    verified_by: str = fact("algorithm that verified it, or `size only` or `etag unverifiable`")
    place: str = fact("the place that its last bytes came from; empty without mirrors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """The state of the run, at changes and otherwise every `PROGRESS_INTERVAL` seconds."""

    name: ClassVar[str] = "progress"
    phase: str = fact(
        "`listing`, `waiting`, `checking`, `downloading`, `verifying` or `failed`; of `verify`: `hashing`"
    )
    percentage: int = fact("0 to 100; 100 when every byte is on the volume")
    done_bytes: int = fact("bytes on the volume")
    total_bytes: int = fact("bytes of the artifact; 0 until it is listed")
    received_bytes: int = fact("bytes that came over the network in this run")
    done_files: int = fact("files that have their final names")
    total_files: int = fact("files of the artifact; 0 until it is listed")
    rate: float = fact("bytes per second")
    seconds_left: float | None = fact("at this rate; null without a forecast")
    protocol: str | None = fact("the protocol in use")
    attempt: int = fact("position in the protocol sequence; 0 before the first attempt")
    place: str = fact("the place that is asked; empty without mirrors")
    waiting: str = fact("why no byte arrives; empty otherwise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Event):
    """Every file is verified, and the artifact is published."""

    name: ClassVar[str] = "verified"
    uri: str = fact("the artifact, without secrets")
    revision: str | None = fact("commit, where the source has commits")
    files: int = fact("number of files")
    bytes: int = fact("bytes of all files")
    digest: str | None = fact("the artifact digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """A run has succeeded. Of `kserve` with several pairs, each has one."""

    name: ClassVar[str] = "finished"
    exit_status: int = fact("0")
    seconds: float = fact("duration of the run")
    files: int = fact("number of files")
    bytes: int = fact("bytes of all files")
    received_bytes: int = fact("bytes that came over the network")
    digest: str | None = fact("the artifact digest; null for a simulated run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The command has failed: always the last line."""

    name: ClassVar[str] = "failed"
    exit_status: int = fact("see Exit status")
    error: str = fact("class of the error, see Exit status")


EVENTS: Final[tuple[type[Event], ...]] = (
    RunStarted,
    Listed,
    AttemptStarted,
    ProtocolSwitched,
    FileCommitted,
    Progress,
    Verified,
    Finished,
    Failed,
)
