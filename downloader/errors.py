"""The one tree of errors: a class for each decision that the program can take.

    DownloadError
    ├── UsageError                    64  FAIL       the command line cannot be understood
    ├── IntegrityError                65  FALL_BACK  bytes are not what their digest says
    │   ├── SourceChanged             65  FALL_BACK  the source replaced a file while it was read
    │   ├── UnexpectedContent         65  FAIL       a file is not what its name says
    │   ├── UnexpectedArtifact        65  FAIL       the artifact is not the one that was signed off
    │   ├── SignatureRejected         65  FAIL       the artifact is not what the expected signer has signed
    │   └── UnsafeFormat              65  FAIL       a file may run code when the model is loaded
    ├── SourceNotFound                66  FAIL       repository, bucket, key, revision or file is missing
    ├── SourceUnavailable             69  RETRY      the network or the server fails
    │   ├── ConnectionBroken          69  RETRY      a connection broke
    │   ├── SourceSilent              69  RETRY      the server accepts connections but does not answer
    │   ├── UnknownHost               69  RETRY      no host has this name
    │   └── Throttled                 69  RETRY      the server asks for a pause
    ├── ProtocolFailed                69  FALL_BACK  this protocol cannot download a file, another one may
    │   ├── ProtocolDown              69  FALL_BACK  this protocol cannot download any file for now
    │   │   └── ProtocolUntrusted     78  FALL_BACK  a server that only this protocol needs is not trusted
    │   └── RangeIgnored              69  FALL_BACK  the server sends whole files only
    ├── InternalError                 70  FAIL       a bug of ours
    ├── NoSpace                       73  FAIL       the volume is full
    ├── VolumeError                   74  FAIL       the volume cannot be read or written as it must be
    │   └── NotUnloaded                1  FAIL       an adapter that a service no longer declares is still served
    ├── OutputError                   74  FAIL       the result cannot be written to standard output
    ├── Stalled                       75  FALL_BACK  no byte for too long
    ├── LeaseLost                     75  FAIL       another process has taken the volume over
    ├── AccessDenied                  77  FAIL       credentials are missing, wrong or not enough
    ├── ConfigurationError            78  FAIL       a variable or a combination of variables is invalid
    ├── UntrustedServer               78  FAIL       a certificate cannot be verified
    └── Cancelled            129/130/143  FAIL       SIGHUP, SIGINT or SIGTERM

The numbers are sysexits(3), all below 126 but for the signals, and 1 where the operator's contract asks for it.

A class is named after what happened; its name ends in `Error` where it would otherwise be the name of a thing: the
volume, the output, the configuration. A package may refine a class for its callers, such as `filesystem` does with
`NotThere`; a refinement ends a run as its base class does.
"""

from __future__ import annotations

import os
import signal
from enum import Enum
from typing import ClassVar


class Verdict(Enum):
    """What a failure means for the run: the only retry vocabulary."""

    RETRY = "retry"
    """It may pass: the retry policy tries the same thing again."""
    FALL_BACK = "fall back"
    """This protocol cannot: the file stays missing for the next attempt."""
    FAIL = "fail"
    """No protocol can: the run ends."""


class Category(Enum):
    """How the operator classifies a failure by the log of the pod (`operator_log.py` has its rules)."""

    OTHER = "other"
    NOT_FOUND = "not found"
    DENIED = "denied"
    STORAGE_FULL = "storage full"


class DownloadError(Exception):
    """Any failure of ours. The message says what and where, the hint says what to do about it."""

    verdict: ClassVar[Verdict] = Verdict.FAIL
    exit_status: int = os.EX_SOFTWARE
    category: ClassVar[Category] = Category.OTHER
    lasting: ClassVar[bool] = False
    """Another run fails the same way until the user has changed something."""
    remedy: ClassVar[str] = ""
    """What to do about such an error where no hint says something more exact."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(DownloadError):
    """The command line cannot be understood."""

    remedy = "see artifact-downloader --help"
    exit_status = os.EX_USAGE
    lasting = True


class IntegrityError(DownloadError):
    """Bytes are not what their digest says."""

    remedy = "run it again; if that does not help, the source itself is damaged"
    exit_status = os.EX_DATAERR
    verdict = Verdict.FALL_BACK


class SourceChanged(IntegrityError):
    """The source replaced a file while it was being read; the bytes of the older version are worthless."""

    remedy = "run it again to get the new version"


class UnexpectedContent(IntegrityError):
    """A file is not what its name says, for example a web page. Fetching it again would not help."""

    remedy = "check what the URI names"
    verdict = Verdict.FAIL


class UnexpectedArtifact(IntegrityError):
    """The artifact is not what `--expect-digest` or `--expect-list` says. Fetching it again would not help."""

    remedy = (
        "nothing was published; check the revision, the filters and what was expected (--expect-digest, --expect-list)"
    )
    verdict = Verdict.FAIL


class SignatureRejected(IntegrityError):
    """The artifact is not what the expected signer has signed: its signature is missing, wrong or another one's."""

    remedy = "check which signer is expected, and where the artifact is from"
    verdict = Verdict.FAIL


class UnsafeFormat(IntegrityError):
    """Files may run code when the model is loaded, or cannot be judged, and only safe formats are wanted."""

    remedy = "--exclude leaves them out, --formats warn (AIM_FORMATS=warn) takes them"
    verdict = Verdict.FAIL


class SourceNotFound(DownloadError):
    """What the URI names does not exist, or the filters exclude all of it."""

    remedy = "check the URI, the revision and the filters"
    exit_status = os.EX_NOINPUT
    lasting = True
    category = Category.NOT_FOUND


class SourceUnavailable(DownloadError):
    """The network or the server fails for now."""

    remedy = "check that host, the proxy and the network policy, then run it again to resume"
    exit_status = os.EX_UNAVAILABLE
    verdict = Verdict.RETRY


class ConnectionBroken(SourceUnavailable):
    """A connection broke. Several at once mean that the server has too many."""


class SourceSilent(SourceUnavailable):
    """The server accepts connections but does not answer; if that lasts, the attempt stalls."""


class UnknownHost(SourceUnavailable):
    """The name service knows no host of this name. Before the first byte it is believed after few retries."""


class Throttled(SourceUnavailable):
    """The server asks for a pause; `retry_after` is its length in seconds, None if it names none.

    `asked_at` is when the request was sent, in seconds of the monotonic clock; None where the answer has just come.
    """

    remedy = "run it again later; a token often raises the limit"

    def __init__(
        self, message: str, *, retry_after: float | None = None, asked_at: float | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.asked_at = asked_at


class ProtocolFailed(DownloadError):
    """This protocol cannot download the file; another one may."""

    remedy = "check the address, and what may answer for that host: a proxy, a gateway, a mirror"
    exit_status = os.EX_UNAVAILABLE
    verdict = Verdict.FALL_BACK


class ProtocolDown(ProtocolFailed):
    """This protocol cannot download any file for now: the attempt ends at once."""


class ProtocolUntrusted(ProtocolDown):
    """The certificate of a server that only this protocol needs cannot be verified."""

    exit_status = os.EX_CONFIG
    lasting = True


class RangeIgnored(ProtocolFailed):
    """The server answers a range request with something other than that range."""


class InternalError(DownloadError):
    """A bug of ours."""

    remedy = "please report this, with --log-level debug"
    exit_status = os.EX_SOFTWARE


class NoSpace(DownloadError):
    """The volume or its quota has no space left."""

    remedy = "make room or use a larger volume; what is there already is kept"
    exit_status = os.EX_CANTCREAT
    lasting = True
    category = Category.STORAGE_FULL


class VolumeError(DownloadError):
    """The volume cannot be read or written as it must be."""

    remedy = "check that the volume is mounted, healthy and writable"
    exit_status = os.EX_IOERR


class NotUnloaded(VolumeError):
    """An adapter that is no longer declared is still served. The contract asks for status 1 for this alone."""

    exit_status = 1


class OutputError(DownloadError):
    """The result of a command cannot be written to standard output."""

    remedy = "check where the output goes"
    exit_status = os.EX_IOERR


class Stalled(DownloadError):
    """No byte arrived for STALL_TIMEOUT, or the deadline has passed; `Cancelled` is for signals."""

    remedy = "check the network or raise STALL_TIMEOUT; run it again to resume"
    exit_status = os.EX_TEMPFAIL
    verdict = Verdict.FALL_BACK


class LeaseLost(DownloadError):
    """Another process took the volume over, so nothing may be published any more."""

    exit_status = os.EX_TEMPFAIL


class AccessDenied(DownloadError):
    """Credentials are missing, wrong or not sufficient."""

    remedy = "check the token or the keys, and what they may read"
    exit_status = os.EX_NOPERM
    lasting = True
    category = Category.DENIED


class ConfigurationError(DownloadError):
    """The environment is invalid; the message names every problem found."""

    remedy = "correct the variables; docs/environment.md lists them"
    exit_status = os.EX_CONFIG
    lasting = True


class UntrustedServer(DownloadError):
    """A server's certificate cannot be verified."""

    remedy = "add its CA to AIM_CA_BUNDLE if it is to be trusted"
    exit_status = os.EX_CONFIG
    lasting = True


class Cancelled(DownloadError):
    """SIGHUP, SIGINT, SIGTERM or the calling program ended the run; the volume can be resumed."""

    def __init__(self, signum: int | None = None, *, again: bool = False) -> None:
        how = "ended at once by a second" if again else "ended by"
        who = "the calling program" if signum is None else signal.Signals(signum).name
        super().__init__(f"{how} {who}", hint="run the same command again to resume")
        self.exit_status = 128 + (signal.SIGTERM if signum is None else signum)


PLACE_ERRORS = (SourceNotFound, AccessDenied, UntrustedServer, ConfigurationError)
"""What such an error says is true of one place only: a mirror of the artifact may have the bytes all the same."""


def explained(exit_status: int) -> str:
    """Return where the documentation explains an exit status."""
    return f"docs/exit-status.md#status-{exit_status}"


def kind_of(error: DownloadError) -> str:
    """Return the name of an error's class in the tree; of a refinement, that of its base class."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == __name__)


def unexpected(error: Exception) -> InternalError:
    """Return our error for an exception that no code has foreseen: a bug, or what the machine or installation lacks."""
    if isinstance(error, ImportError):
        bug = InternalError(
            f"this installation is not complete: {error.name or error} cannot be loaded",
            hint="install it again, or use another image",
        )
    elif isinstance(error, MemoryError) or "start new thread" in str(error):  # Python has no class for the second
        bug = InternalError(
            "the limits of this machine or container allow no more memory or no more threads",
            hint="raise the limit of memory or of processes (ulimit -u, pids)",
        )
    else:
        bug = InternalError(f"{type(error).__name__}: {error}", hint=InternalError.remedy)
    bug.__cause__ = error
    return bug
