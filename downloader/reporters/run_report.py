"""`RunReport`: what there is to say of a run that has ended, in whatever way. Report and metrics are made from it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from downloader.errors import kind_of
from downloader.progress import Phase, Snapshot
from downloader.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from downloader.artifact import ModelCard, TransferProtocol
    from downloader.errors import DownloadError
    from downloader.formats import Risk
    from downloader.progress import Attempt

SCHEMA: Final = 1
"""The version of the report. Any change other than an additional member needs a new one."""
LIBRARIES: Final = ("boto3", "botocore", "hf-xet", "httpx2", "huggingface-hub", "kubernetes", "model-signing")
"""Distributions whose versions are reported."""
FETCHED, REUSED, MISSING = "fetched", "reused", "missing"


class FileReport(NamedTuple):
    """One file of the artifact."""

    path: str
    """Relative to the target, with `/` between parts."""
    size: int | None
    """Bytes; None if the server does not say and the file is not there."""
    sha256: str | None
    """Digest of the file on the volume; None if it is missing."""
    verified_by: str | None
    """The algorithm that verified it, or `size only`, `etag unverifiable` or `unknown`; None if it is missing."""
    state: str
    """`fetched` in this run, at least in part; `reused`: it was there; or `missing`."""
    place: str | None = None
    """Where its last bytes came from, in a run with mirrors."""


class Memory(NamedTuple):
    """Peak memory, in bytes."""

    own: int
    children: int
    """Of the largest child process that has ended, such as the one that runs hf_xet."""


def peak_memory() -> Memory:
    """Return the peak memory of this process so far."""
    import resource  # noqa: PLC0415 - only a run with a report needs it

    unit = 1 if sys.platform == "darwin" else 1024
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Memory(own * unit, children * unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """How a download ended, and what it did. Texts are not redacted: `to_json` does that."""

    started: float
    """Seconds since the epoch."""
    seconds: float
    """Duration of the run."""
    uri: str | None = None
    """The artifact, without secrets; None where the command line could not be understood."""
    revision: str | None = None
    """The commit, where the source has commits."""
    digest: str | None = None
    """The artifact digest, once the artifact is published."""
    signer: str | None = None
    """Who has signed the artifact, in words; None if no signature was verified."""
    card: ModelCard | None = None
    """What the owners of the artifact say of it; None if they were not asked."""
    risks: tuple[Risk, ...] | None = None
    """What is said against the formats of its files; None if they were not judged."""
    target: Path | None = None
    error: DownloadError | None = None
    """None if the run succeeded."""
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(phase=Phase.FAILED))
    """Its last state: bytes, files, attempts and phases."""
    memory: Memory = field(default_factory=peak_memory)
    files: Callable[[], Iterator[FileReport]] = field(default=lambda: iter(()))
    """Yields the files of the artifact, made one by one: there may be 100,000 of them."""

    @property
    def exit_status(self) -> int:
        """What the command line exits with."""
        return self.error.exit_status if self.error else 0

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts in their order."""
        return self.snapshot.attempts

    @property
    def by_protocol(self) -> dict[TransferProtocol, tuple[int, int]]:
        """Received and discarded bytes of each protocol of the sequence."""
        found = dict.fromkeys(self.snapshot.sequence, (0, 0))
        for attempt in self.attempts:
            received, discarded = found.get(attempt.protocol, (0, 0))
            found[attempt.protocol] = received + attempt.received_bytes, discarded + attempt.discarded_bytes
        return found

    @property
    def by_place(self) -> dict[str, tuple[int, int]]:
        """Received and discarded bytes of each place that was asked; empty in a run without mirrors."""
        found: dict[str, tuple[int, int]] = {}
        for attempt in self.attempts:
            received, discarded = found.get(attempt.place, (0, 0))
            found[attempt.place] = received + attempt.received_bytes, discarded + attempt.discarded_bytes
        found.pop("", None)
        return found

    def facts(self) -> dict[str, Any]:
        """Return the report as JSON has it, without the files."""
        final = self.snapshot
        return {
            "schema": SCHEMA,
            "started": moment(self.started),
            "ended": moment(self.started + self.seconds),
            "seconds": round(self.seconds, 3),
            "source": {"uri": self.uri, "revision": self.revision},
            "signer": self.signer,
            "card": None if self.card is None else _card(self.card),
            "formats": None if self.risks is None else [_risk(risk) for risk in self.risks],
            "digest": self.digest,
            "target": None if self.target is None else str(self.target),
            "outcome": _outcome(self.error),
            "bytes": {
                "total": final.total_bytes,
                "on_volume": final.done_bytes,
                "received": final.received_bytes,
                "reused": final.reused_bytes,
                "discarded": final.discarded_bytes,
                "by_protocol": {
                    protocol: {"received": received, "discarded": discarded}
                    for protocol, (received, discarded) in self.by_protocol.items()
                },
                "by_place": {
                    place: {"received": received, "discarded": discarded}
                    for place, (received, discarded) in self.by_place.items()
                },
            },
            "attempts": [_attempt(attempt) for attempt in self.attempts],
            "phases": {phase: round(seconds, 3) for phase, seconds in final.phases},
            "memory": {"peak_bytes": self.memory.own, "peak_bytes_of_children": self.memory.children},
            "versions": versions(),
        }


def versions() -> Mapping[str, str]:
    """Return the versions of this program, of Python and of the libraries that are installed."""
    from importlib import metadata  # noqa: PLC0415 - as above

    found = {"artifact-downloader": __version__, "python": sys.version.split()[0]}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def moment(seconds: float) -> str:
    """Return seconds since the epoch by RFC 3339, in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _risk(risk: Risk) -> dict[str, Any]:
    return {"path": risk.path, "problem": risk.what, "refused": risk.refused}


def _card(card: ModelCard) -> dict[str, Any]:
    return {"licence": card.licence or None, "base_models": list(card.base_models)}


def _outcome(error: DownloadError | None) -> dict[str, Any]:
    if error is None:
        return {"success": True, "exit_status": 0, "error": None, "message": None, "hint": None}
    return {
        "success": False,
        "exit_status": error.exit_status,
        "error": kind_of(error),
        "message": error.message,
        "hint": error.hint or None,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    result = "interrupted" if attempt.files_left is None else "incomplete" if attempt.error else "complete"
    return {
        "protocol": attempt.protocol,
        "number": attempt.number,
        "place": attempt.place or None,
        "result": result,
        "seconds": round(attempt.seconds, 3),
        "received_bytes": attempt.received_bytes,
        "discarded_bytes": attempt.discarded_bytes,
        "files_left": attempt.files_left,
        "error": None if attempt.error is None else kind_of(attempt.error),
        "reason": None if attempt.error is None else attempt.error.message,
    }
