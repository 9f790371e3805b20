"""From settings to objects: the only place where the parts of a run meet."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from downloader import __version__
from downloader.artifact import Completion, TransferProtocol
from downloader.cgroups import processors
from downloader.config.job import CONNECTIONS, MOST_CONNECTIONS
from downloader.config.s3 import NOBODY
from downloader.engine import in_force
from downloader.filesystem import Disk
from downloader.filters import FileFilter
from downloader.formatting import format_size
from downloader.integrity import MARKER
from downloader.network import HttpClient, Proxies, Timeouts, Trust
from downloader.simulation import SimulatedVolume
from downloader.sources.registry import scheme_of
from downloader.transfer import TransferConfig
from downloader.volume import SHA256, Volume

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.cancellation import Cancellation
    from downloader.config import Settings
    from downloader.progress import ProgressMeter
    from downloader.redaction import Redactor
    from downloader.sources import Source

USER_AGENT = f"artifact-downloader/{__version__}"
S3_LOGGERS = "downloader.sources.s3"
PER_PROCESSOR = 2
"""Connections for each processor, at first: more of them only take each other's time where the server is near."""
LONGEST_SILENCE = 30.0
SHARE_OF_STALL = 0.6
"""Trouble is raised before the watchdog barks: a named cause is worth more than "nothing arrived"."""

MARKS = {
    Completion.FILE: MARKER,
    Completion.XATTR: f"extended attributes, {SHA256} of each file",
    Completion.NONE: "none, a rerun hashes everything",
}

log = logging.getLogger(__name__)


def make_web(uri: str, settings: Settings, meter: ProgressMeter) -> HttpClient:
    """Return the HTTP plane for a source, with the trust that its kind asks for."""
    trusted, verify = bundles(uri, settings), True
    if uri.startswith("s3://"):
        verify = settings.s3.verify
    elif settings.s3.mounted_bundle not in (None, *trusted):
        # KServe tells it for every source of a service account, though its secret may mean S3 alone.
        log.warning("there is no CA bundle at %s, so none is trusted", settings.s3.mounted_bundle)
    read = min(LONGEST_SILENCE, max(1.0, settings.job.stall_timeout / 4))
    timeouts = Timeouts(connect=min(10.0, read), read=read)
    tls = Trust(trusted, verify=verify)
    return HttpClient(tls, Proxies(settings.proxies), user_agent=USER_AGENT, timeouts=timeouts, meter=meter)


def bundles(uri: str, settings: Settings) -> list[Path]:
    """Return the PEM files with CAs that a source's clients trust besides the usual ones."""
    given = [settings.web.ca_bundle] if settings.web.ca_bundle else []
    if uri.startswith("s3://"):
        return [*given, *settings.s3.trusted]
    mounted = settings.s3.mounted_bundle
    with contextlib.suppress(OSError):  # of a folder that is closed to us
        if mounted and mounted.is_file():
            return [*given, mounted]
    return given


def make_source(uri: str, settings: Settings, web: HttpClient) -> Source:
    """Return the source of a URI. Raises UsageError for one that cannot be understood."""
    if settings.s3.log_level:
        logging.getLogger(S3_LOGGERS).setLevel(settings.s3.log_level)
    return scheme_of(uri).make(uri, settings, web, selection_of(settings))


def make_shape(uri: str, settings: Settings, limit: int | None = None) -> TransferConfig:
    """Return the numbers of the ranged transports, for a process that may use `limit` bytes."""
    chosen, s3 = settings.job.connections, settings.s3
    few, many = chosen or min(CONNECTIONS, PER_PROCESSOR * processors()), chosen or MOST_CONNECTIONS
    if not uri.startswith("s3://"):
        shape = TransferConfig.of(few, most=many, limit=limit)
    elif s3.connections is None:
        shape = TransferConfig.of(few, most=many, request=s3.span_size, limit=limit, stream=s3.stream_size)
    else:
        shape = TransferConfig.of(
            chosen or s3.connections,
            files=s3.max_workers,
            per_file=s3.max_concurrency,
            request=s3.span_size,
            limit=limit,
            stream=s3.stream_size,
        )
    buffers = format_size(shape.buffers * shape.buffer_size)
    log.debug("%d to %d connections, %s of buffers", shape.connections, shape.most, buffers)
    return shape


def make_volume(uri: str, settings: Settings, cancellation: Cancellation, *, simulated: bool) -> Volume:
    """Return the target folder of a run."""
    job, debug = settings.job, settings.debug
    if not simulated:
        completion = completion_for(uri, settings, for_operator=bool(settings.cluster.artifact_name))
        return Volume(job.target, files=make_disk(settings), ttl=job.lease_ttl, completion=completion)
    return SimulatedVolume(
        job.target,
        ttl=job.lease_ttl,
        sleep=cancellation.sleep,
        verification=debug.verify_duration if debug.simulate_download else 0.0,
        fails=debug.simulate_download and debug.verify_fail,
    )


def completion_for(uri: str, settings: Settings, *, for_operator: bool) -> Completion:
    """Return where the artifact is marked as complete.

    On a volume of the operator's that was filled from S3, there must be the bucket's files and no others.
    """
    job, chosen = settings.job, settings.job.completion
    if chosen is Completion.AUTO:
        chosen = Completion.XATTR if uri.startswith("s3://") and for_operator else Completion.FILE
    log.info("completion mark: %s (AIM_COMPLETION=%s)", MARKS[chosen], job.completion)
    return chosen


def make_disk(settings: Settings) -> Disk:
    """Return the target folder's file system."""
    return Disk(settings.job.target)


def sequence_for(uri: str, settings: Settings) -> tuple[TransferProtocol, ...]:
    """Return the protocols in force for a URI."""
    scheme = scheme_of(uri)
    fitting = scheme.fitting - {TransferProtocol.XET} if settings.hub.disable_xet else scheme.fitting
    return in_force(settings.job.sequence, fitting, in_force(scheme.default, fitting, ()))


def selection_of(settings: Settings) -> FileFilter:
    """Return the filters of a run."""
    job, kserve = settings.job, settings.kserve
    return FileFilter(job.include or kserve.allow, (*job.exclude, *kserve.ignore))


def silence(settings: Settings) -> float:
    """Return the seconds of trouble that a listing or a span is given."""
    return settings.job.stall_timeout * SHARE_OF_STALL


def learn_secrets(settings: Settings, redactor: Redactor) -> None:
    """Tell the redactor every secret of the settings."""
    redactor.add(*settings.hub.endpoint.secrets, *settings.proxies.secrets)
    redactor.add(settings.hub.token, settings.web.token, *(settings.web.headers or {}).values())
    redactor.add(*(value for headers in (settings.kserve.headers or {}).values() for value in headers.values()))
    keys = settings.s3.access_key_id, settings.s3.secret_access_key, settings.s3.session_token
    redactor.add(*(key for key in keys if key != NOBODY))
