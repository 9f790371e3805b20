"""Makes the objects of a run from its settings."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from downloader import integrity
from downloader.artifact import TransferProtocol
from downloader.config.job import CONNECTIONS, MAX_CONNECTIONS
from downloader.config.signing import SignatureMode
from downloader.engine import Engine, Plan, PublishAsDownloaded, effective_sequence
from downloader.filesystem import Disk
from downloader.filters import FileFilter
from downloader.formatting import format_size
from downloader.network import HttpClient, Proxies, Timeouts, Trust
from downloader.runs.processes import Processes
from downloader.signing import signatures
from downloader.simulation import SimulatedVerification
from downloader.sources.bandwidth import Bandwidth
from downloader.sources.retry import RetryPolicy
from downloader.sources.retrying import RetryingSource
from downloader.transfer import TransferConfig, TransportFactory, XetSettings
from downloader.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.cancellation import Cancellation
    from downloader.config import Settings
    from downloader.deadlines import Deadlines
    from downloader.engine import Finalizer, Route
    from downloader.progress import ProgressMeter, StallWatchdog
    from downloader.runs.runner import Runner
    from downloader.sources import Source
    from downloader.sources.pause import SharedPause
    from downloader.sources.registry import ArtifactUri
    from downloader.volume import Volume

USER_AGENT = f"artifact-downloader/{__version__}"
PER_PROCESSOR = 2
"""Connections for each processor, at first: more of them only take each other's time where the server is near."""

log = logging.getLogger(__name__)


class Sharing(NamedTuple):
    """How a run shares its work."""

    join: Callable[[int], tuple[int, int] | None]
    """Called with the number of bytes to fetch; see `LeadingEngine`."""
    on_shared: Callable[[str], None]
    """Called with the path of the board when there is work to share."""
    elsewhere: bool
    """Processes that this run has not started share the work, too."""


class NetworkProgress:
    """Counts what the HTTP client reports in the progress meter."""

    def __init__(self, meter: ProgressMeter) -> None:
        self.on_bytes = meter.add_metadata
        self.on_skipped = meter.add_skipped
        self.on_response = meter.add_metadata_response
        self.on_request = meter.add_host


def make_client(
    uri: ArtifactUri, settings: Settings, meter: ProgressMeter, deadlines: Deadlines | None = None
) -> HttpClient:
    """Return the HTTP client for a source, with the certificates that its scheme trusts."""
    return HttpClient(
        make_trust(uri, settings),
        Proxies(settings.proxies),
        user_agent=USER_AGENT,
        timeouts=make_timeouts(deadlines or settings.deadlines),
        observer=NetworkProgress(meter),
        content=integrity,
    )


def make_trust(uri: ArtifactUri, settings: Settings) -> Trust:
    """Return the certificates that the scheme of a URI trusts. Raises ConfigurationError for an unusable bundle."""
    trust = uri.scheme.trust(settings)
    if trust.missing is not None:
        log.warning("there is no CA bundle at %s, so none is trusted", trust.missing)
    return Trust(trust.bundles, verify=trust.verify)


def make_timeouts(limits: Deadlines) -> Timeouts:
    """Return the time limits of the HTTP client."""
    return Timeouts(connect=limits.connect, read=limits.read, pipelined=limits.pipelined)


def make_source(uri: ArtifactUri, settings: Settings, client: HttpClient) -> Source:
    """Return the source of a URI. Raises UsageError for one that cannot be understood."""
    return uri.source(settings, client, make_filter(settings))


def given_connections(uri: ArtifactUri, settings: Settings) -> int | None:
    """Return the number of connections that all processes of a run may have together, None if none was given."""
    return settings.job.connections or uri.scheme.transfer(settings).connections


def make_processes(uri: ArtifactUri, settings: Settings) -> Processes:
    """Return how many processes share the work of a run: one with mirrors, unless several were asked for."""
    return Processes(
        settings,
        protocols=sequence_for(uri, settings),
        connections=given_connections(uri, settings),
        possible=not settings.job.mirrors,
    )


def make_transfer_config(uri: ArtifactUri, settings: Settings, processes: Processes) -> TransferConfig:
    """Return the numbers of the ranged transports, for one of these processes."""
    wanted = uri.scheme.transfer(settings)
    given = given_connections(uri, settings)
    config = TransferConfig.of(
        processes.part(given) if given else min(CONNECTIONS, processes.part(PER_PROCESSOR * processes.cpus)),
        max_connections=processes.part(given) if given else MAX_CONNECTIONS,
        max_files=wanted.files,
        max_connections_per_file=wanted.per_file,
        request_size=wanted.request,
        memory_limit=processes.part(processes.memory),
        stream_size=wanted.stream,
    )
    buffers = format_size(config.buffers * config.buffer_size)
    log.debug("%d to %d connections, %s of buffers", config.initial_connections, config.max_connections, buffers)
    return config


def make_simulated_verification(settings: Settings, cancellation: Cancellation) -> Finalizer:
    """Return the last step of a simulated run."""
    debug = settings.debug
    if not debug.simulate_download:
        return PublishAsDownloaded()
    verification = SimulatedVerification(cancellation.sleep, debug.verify_duration, debug.verify_fail)
    return PublishAsDownloaded(before=verification)


def make_disk(settings: Settings, *, create: bool = True) -> Disk:
    """Return the target folder's file system, which is made if it is missing and `create`."""
    disk = Disk(settings.job.target, create=create)
    disk.keeps_pages = settings.job.keep_pages
    return disk


def sequence_for(uri: ArtifactUri, settings: Settings) -> tuple[TransferProtocol, ...]:
    """Return the protocols in force for a URI."""
    scheme = uri.scheme
    fitting = scheme.fitting - {TransferProtocol.XET} if settings.hub.disable_xet else scheme.fitting
    return effective_sequence(settings.job.sequence, fitting, effective_sequence(scheme.default, fitting, ()))


def make_filter(settings: Settings, *, signed: bool = False) -> FileFilter:
    """Return the filters of a run, which keep its signature. `signed`: for paths without the signature."""
    job, kserve, signing = settings.job, settings.kserve, settings.signing
    in_artifact = signing.mode is not SignatureMode.OFF and not signing.signature_uri
    always = signatures if in_artifact and not signed else None
    return FileFilter(job.include or kserve.allow, (*job.exclude, *kserve.ignore), job.only, always)


def unfiltered(settings: Settings) -> Settings:
    """Return the settings without filters."""
    job = replace(settings.job, include=(), exclude=(), only=None)
    return replace(settings, job=job, kserve=replace(settings.kserve, allow=(), ignore=()))


def make_plan(
    uri: ArtifactUri, settings: Settings, expectation: integrity.Expectation, files: FileFilter | None = None
) -> Plan:
    """Return what the engine is asked to do, with `files` in place of the filters of the run."""
    job = settings.job
    return Plan(
        make_filter(settings) if files is None else files,
        expectation=expectation,
        trust_mirror=job.trust_mirror,
        require_digest=job.require_digest,
        content=integrity.ContentCheck(job.accept_any, uri.scheme.lists),
        replace=job.replace,
        prune=job.prune,
        make_room=job.replace or bool(settings.cluster.artifact_name),
        keep_corrupt=job.keep_metadata_on_failure,
    )


def make_transports(
    uri: ArtifactUri,
    settings: Settings,
    runner: Runner,
    *,
    client: HttpClient,
    source: Source,
    environment: Mapping[str, str],
    bandwidth: Bandwidth | None,
    processes: Processes,
    deadlines: Deadlines,
    pause: SharedPause,
    elsewhere: bool = False,
    refetch: bool = True,
) -> TransportFactory:
    """Return the factory of the transports for one place; child processes get their variables from `environment`.

    `elsewhere` and `refetch` are those of `TransferConfig`.
    """
    trusted = uri.scheme.trust(settings).bundles
    threads = processes.part(processes.cpus) if processes.count > 1 else 0
    xet = XetSettings(
        processes.part(processes.memory), deadlines, environment, settings.hub.home, trusted, threads=threads
    )
    config = replace(make_transfer_config(uri, settings, processes), elsewhere=elsewhere, refetch=refetch)
    return TransportFactory(source, runner.meter, config, deadlines, xet, client.interrupt, pause, bandwidth)


def make_bandwidth(settings: Settings, meter: ProgressMeter) -> Bandwidth | None:
    """Return the bandwidth limit of a run, None without one."""
    limit = settings.job.bandwidth
    return Bandwidth(limit, meter) if limit else None


def make_retrying(source: Source, settings: Settings, runner: Runner) -> RetryingSource:
    """Return the source, retried as long as the run allows."""
    policy = RetryPolicy(settings.deadlines.retry_budget, runner.meter, runner.cancellation, runner.pause)
    return RetryingSource(source, policy)


def make_engine(
    source: Source,
    volume: Volume,
    routes: Sequence[Route],
    plan: Plan,
    *,
    uri: str,
    runner: Runner,
    watchdog: StallWatchdog,
    finalizer: Finalizer | None,
    waiting: Callable[[str, float], None],
    sharing: Sharing | None,
) -> Engine:
    """Return the engine of a run that works alone, or one whose work others share.

    `waiting` is told of the holder of the lease.
    """
    meter, cancellation = runner.meter, runner.cancellation
    alone = partial(
        Engine,
        meter=meter,
        watchdog=watchdog,
        cancellation=cancellation,
        lease=partial(volume.lease, uri, waiting=waiting, sleep=cancellation.sleep),
        finalizer=finalizer,
    )
    if sharing is None:
        return alone(source, volume, routes, plan)
    more = {**alone.keywords, "join": sharing.join, "on_shared": sharing.on_shared}
    if not sharing.elsewhere:
        from downloader.engine.leading import LeadingEngine  # noqa: PLC0415 -- most runs work alone

        return LeadingEngine(source, volume, routes, plan, **more)
    from downloader.engine.shared import SharedEngine  # noqa: PLC0415 -- as above

    shared_lease = partial(volume.lease_unless, uri=uri)
    return SharedEngine(source, volume, routes, plan, **more, shared_lease=shared_lease, show_waiting=waiting)
