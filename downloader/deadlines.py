"""Every wait of the program, in seconds.

`Deadlines` has the limits that follow from STALL_TIMEOUT. The constants below it are the others, each with its reason.
Lengths of time that nothing waits for, such as the window of a measurement, stand beside what they are for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    longest_pause: float
    """A pause that a server may ask for: a longer one ends the protocol, since another one may not be limited."""
    without_progress: float
    """All pauses and retries together: else a server could hold a run for ever with one short pause after the other."""

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
            longest_pause=MAX_RETRY_AFTER,
            without_progress=MAX_WITHOUT_PROGRESS,
        )

    def impatient(self) -> Self:
        """Return the limits of a place that is not the last one to have the files: waiting for it is not worth much.

        A connection is tried within the first and the last of the retries: all that takes less than ten seconds.
        """
        return replace(
            self,
            connect=min(IMPATIENT, self.connect),
            retry_budget=min(IMPATIENT, self.retry_budget),
            last_retry=min(0.9 * IMPATIENT, self.last_retry),
            longest_pause=3 * IMPATIENT,
            without_progress=min(10 * IMPATIENT, self.stall),
        )


# Defaults of variables (`config/job.py`).
STALL_TIMEOUT = 120.0
VOLUME_TIMEOUT = 300.0
PROGRESS_INTERVAL = 10.0
LEASE_TTL = 60.0
"""A holder whose lease was not seen to change for this long counts as dead."""

# Retries (`sources/retry.py`).
FIRST_PAUSE = 0.3
"""Upper limit of the first pause, which doubles up to MAX_PAUSE. The actual pause is random (full jitter): threads
whose connections broke together must not come back together."""
MAX_PAUSE = 15.0
MAX_RETRY_AFTER = 600.0
"""A longer pause that a server asks for ends the protocol. A longer window of a `RateLimit` is ignored, and an
AIMArtifact is patched again after this time."""
MAX_WITHOUT_PROGRESS = 900.0
"""Limit of all pauses and retries together without a byte."""
IMPATIENT = 3.0
"""Retry budget of a place that is not the last one to have the files. A place that is down costs three times as much,
once."""
UNKNOWN_HOST_BUDGET = 3.0
"""Retry budget of an unknown host until any server has answered: most likely its name is misspelt, but the DNS of a new
pod may need about that long."""

# The end of a run: SIGTERM must end the process within ten seconds.
RUN_GRACE = 6.0
"""Time for a cancelled run to close its journals."""
RUN_END = 9.0
"""Limit of the whole end: the run itself, then its summaries with half of what is left, then its status."""
LAST_STEP = 0.5
"""Time that each step of the end has in any case."""
TRANSFER_GRACE = 4.0
"""Time for all threads of an attempt together to end after a cancellation.

Less than RUN_GRACE, so that the lease is released even if a connection cannot be woken.
"""
XET_EXIT = 2.0
"""Time for the child to exit after its control socket was closed."""
SIGNATURE = 30.0
"""Limit of the process that verifies a signature, once it is asked; afterwards the run verifies it itself."""
HELPER_EXIT = 3.0
"""Time for the further processes of a run to end with it."""
SUMMARY_LAST = 3.0
"""Limit of each summary of a run after a signal, if there is time; they are written at the same time."""
DOCTOR_CLEANUP = 3.0
"""Time for checks of the target to remove what they tried, when the diagnosis ends early."""

# Limits of single operations.
XET_FIRST_BYTE = 9.0
"""Time after the first request to Xet's storage within which a byte must arrive from the network."""
SUMMARY_FILE = 30.0
"""Limit of a summary that is written to a file."""
SUMMARY_PUSH = 5.0
"""Limit of a request to the Pushgateway."""
DOCTOR_LIMIT = 30.0
"""Limit of each group of checks, unless STALL_TIMEOUT is shorter."""
COMPLETION_LISTING = 3.0
"""Limit of a listing for a shell's completion: a person waits for it."""
TRASH_GRACE = 1.0
"""Time between moving an adapter to the trash and removing it, for readers that have just opened it."""

# The status of an AIMArtifact (`reporters/kubernetes`).
STATUS_TIMEOUT = 5.0
"""Limit of a request, and of the final status with all its attempts."""
STATUS_START = 20.0
"""Additional limit for a run that ends before the client is imported: with a tenth of a CPU that takes seconds."""
STATUS_HEARTBEAT = 60.0
"""An unchanged status is written again after this time: another client may have overwritten it."""
STATUS_MESSAGE_GAP = 2.0
"""Minimum time between patches for new messages, which are frequent in a bad network."""
STATUS_FIRST_PAUSE = 1.0
"""Pause after the first failure of the server; it doubles up to STATUS_MAX_PAUSE."""
STATUS_MAX_PAUSE = 60.0
STATUS_REJECTED_PAUSES = (60.0, 600.0)
"""Pause after the first rejection, since the operator may bind our role slightly too late, and the longest one."""
STATUS_LAST_PAUSE = 0.125
"""Pause before the final status is sent again; it is doubled before each use, the first one included."""

# Intervals at which a waiting thread checks something that cannot wake it.
CHECK_INTERVAL = 0.2
"""For a cancellation, a signal, the end of the attempt."""
LINE_INTERVAL = 10.0
"""Between two plain lines of progress if only numbers have changed."""
THROUGHPUT_INTERVAL = 0.1
"""For the throughput, which is reported to the concurrency controller."""
EVICTION_WAIT = 0.05
"""For a free buffer, before one is evicted: often one returns soon, and no bytes have to be read back."""
LEASE_POLL = 2.0
"""For a change of another process's lease, at most: a short time to live is polled more often."""
SHARD_POLL = 0.25
"""For work that other processes share: whether there is any, what is free, and what is done."""
SHARD_GAP = 5.0
"""Longest time between two readings of a log that counts: a process that slept could not see the other."""
CONTENTION_PAUSE = 0.05
"""Before a folder is leased again that other processes have moved or removed."""
