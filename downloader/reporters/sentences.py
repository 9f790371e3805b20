"""What the log says of a run: its progress and its end, in words for people and as events for programs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from downloader.events import Event, Finished, Progress
from downloader.formatting import format_count, format_duration, format_size
from downloader.progress import Phase
from downloader.reporters.frame import amount_text, pace_text

if TYPE_CHECKING:
    from downloader.progress import Snapshot


def progress_text(snapshot: Snapshot) -> str:
    """Describe what a run is doing. The protocol comes last: before a number, `HTTP 404` could seem to be a status."""
    text = str(snapshot.phase)
    if snapshot.total_bytes:
        text += f": {snapshot.percentage} %, {amount_text(snapshot)}, {pace_text(snapshot)}".removesuffix(", ")
    if snapshot.discarded_bytes:
        text += f", {format_size(snapshot.discarded_bytes)} discarded"
    if snapshot.phase is Phase.DOWNLOADING and snapshot.protocol:
        at = f" at {snapshot.place}" if snapshot.place else ""
        text += f" ({snapshot.protocol}{at}, attempt {snapshot.attempt} of {len(snapshot.sequence)})"
    for remark in (snapshot.message, _waiting(snapshot), snapshot.stuck_volume):
        if remark:
            text += f"; {remark}"
    return text


def progress_event(snapshot: Snapshot) -> Progress:
    """Return the event for a snapshot."""
    return Progress(
        phase=snapshot.phase,
        percentage=snapshot.percentage,
        done_bytes=snapshot.done_bytes,
        total_bytes=snapshot.total_bytes,
        received_bytes=snapshot.received_bytes,
        done_files=snapshot.done_files,
        total_files=snapshot.total_files,
        rate=round(snapshot.rate, 1),
        seconds_left=None if snapshot.eta is None else round(snapshot.eta, 1),
        protocol=snapshot.protocol,
        attempt=snapshot.attempt,
        place=snapshot.place,
        waiting=snapshot.waiting or snapshot.stuck_volume,
    )


def last_event(final: Snapshot, seconds: float) -> Event:
    """Return the event for the end of a run that took `seconds`."""
    if final.phase is not Phase.DONE:
        return progress_event(final)  # the last line of the log has the failure
    return Finished(
        exit_status=0,
        seconds=round(seconds, 3),
        files=final.total_files,
        bytes=final.total_bytes,
        received_bytes=final.received_bytes,
        digest=final.digest or None,
    )


def summary_text(final: Snapshot, seconds: float) -> str:
    """Describe how a run that took `seconds` ended."""
    took = format_duration(seconds)
    # Of several processes that share the work, one may also discard what the others had fetched.
    of_it = " of it" if final.discarded_bytes <= final.received_bytes else ""
    discarded = f", {format_size(final.discarded_bytes)}{of_it} discarded" if final.discarded_bytes else ""
    if final.phase is not Phase.DONE:
        return _failure_text(final, took) + discarded.replace(" of it", "")
    came = "nothing had to be fetched"
    if final.received_bytes:
        pace = format_size(max(final.received_bytes - final.discarded_bytes, 0) / max(seconds, 0.001))
        came = f"{format_size(final.received_bytes)} received{discarded}, {pace}/s{_places_text(final)}"
    return f"done after {took}: {format_count(final.total_files, 'file')}, {format_size(final.total_bytes)}; {came}"


def _places_text(final: Snapshot) -> str:
    """Return how much came from each place of a run with mirrors."""
    received: Counter[str] = Counter()
    for attempt in final.attempts:
        received[attempt.place] += attempt.received_bytes
    shares = [f"{format_size(count)} from {place}" for place, count in received.items() if place and count]
    return f" ({', '.join(shares)})" if shares else ""


def _failure_text(final: Snapshot, took: str) -> str:
    # A run that has waited for another process has not looked at what is there, so nothing is said of it.
    if not final.protocol and not final.done_bytes:
        return f"{final.phase} after {took}, before the download began"
    amount = amount_text(final) if final.total_bytes else format_size(final.done_bytes)
    text = f"{final.phase} after {took}: {amount} on the volume"
    if final.total_files:
        text += f", {final.done_files} of {format_count(final.total_files, 'file')}"
    if final.protocol:
        text += f", attempt {final.attempt} of {len(final.sequence)} ({final.protocol})"
    return text


def _waiting(snapshot: Snapshot) -> str:
    return "" if snapshot.wait_left is None else f"{snapshot.waiting} ({format_duration(snapshot.wait_left)} to go)"
