"""`Deadlines`: every time limit that follows from STALL_TIMEOUT, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. Their order matters: what can name a cause gives up before the watchdog, which cannot."""

    stall: float
    """No byte from anywhere: the watchdog ends the attempt."""
    retry_budget: float
    """A listing or a range keeps failing: its error is raised. Bytes that arrive restart the time."""
    last_retry: float
    """If a file fails for good and none was completed for so long, later failures are not retried in this attempt."""
    connect: float
    """A connection, its proxy and its TLS handshake."""
    read: float
    """One read on a connection: afterwards the connection counts as dead, and the request is retried."""
    pipelined: float
    """The first responses of a server that is not known to support pipelining: then requests are sent one by one."""
    xet_token: float
    """The request for a Xet token: without a token the next protocol is tried."""
    xet_retry_budget: float
    """One range over Xet, in addition to hf_xet's own retries."""
    xet_read: int
    """One read inside hf_xet, which takes whole seconds only."""

    @classmethod
    def of(cls, stall_timeout: float) -> Self:
        """Return the limits of a run that gives up an attempt after `stall_timeout` seconds without a byte."""
        read = min(30.0, max(1.0, stall_timeout / 4))
        return cls(
            stall=stall_timeout,
            retry_budget=0.6 * stall_timeout,
            last_retry=0.54 * stall_timeout,
            connect=min(10.0, read),
            read=read,
            pipelined=min(5.0, read),
            xet_token=min(6.0, stall_timeout / 2),
            xet_retry_budget=min(3.0, stall_timeout / 2),
            xet_read=max(1, int(min(30, stall_timeout / 3))),
        )
