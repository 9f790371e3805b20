"""All checks: which there are, what runs at the same time, and the order of their findings."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from downloader.config.mirrors import ORIGIN
from downloader.deadlines import DOCTOR_CLEANUP, DOCTOR_LIMIT
from downloader.doctor.cluster import check_cluster
from downloader.doctor.environment import check_environment
from downloader.doctor.finding import Diagnosis, Finding, note, problem
from downloader.doctor.groups import Group
from downloader.doctor.hosts import check_host
from downloader.doctor.machine import check_machine
from downloader.doctor.mirrors import check_mirror
from downloader.doctor.source import SourceCheck
from downloader.doctor.target import Target
from downloader.errors import DownloadError, Stalled, VolumeError
from downloader.network import Proxies, ServerProbe
from downloader.redaction import Redactor
from downloader.runs.wiring import USER_AGENT, make_client, make_timeouts, make_trust
from downloader.sources.registry import ArtifactUri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from downloader.artifact import Manifest
    from downloader.config import Settings
    from downloader.hub_cache import CachedRepository
    from downloader.network import Origin
    from downloader.runs.runner import Runner


def diagnose(
    uri: ArtifactUri | None,
    settings: Settings,
    problems: Sequence[str],
    environ: Mapping[str, str],
    runner: Runner,
    *,
    cache: CachedRepository | None = None,
    on_finding: Callable[[Finding], None] = lambda _: None,
    redactor: Redactor | None = None,
) -> Diagnosis:
    """Return what all checks found; `on_finding` is called with each finding, in their order.

    With a `cache`, the target is the folder of this repository in a cache of huggingface_hub.

    `problems` are those of `Settings.read`. Raises only the reason of a cancellation.
    """
    redactor = redactor or Redactor()
    redactor.add(*settings.secrets())
    doctor = _Doctor(uri, settings, runner, redactor, on_finding, cache)
    return runner.run(lambda: doctor.examine(environ, problems))


class _Doctor:
    def __init__(  # noqa: PLR0917
        self,
        uri: ArtifactUri | None,
        settings: Settings,
        runner: Runner,
        redactor: Redactor,
        on_finding: Callable[[Finding], None],
        cache: CachedRepository | None,
    ) -> None:
        self._uri = uri
        self._cache = cache
        self._settings = settings
        self._runner = runner
        self._redactor = redactor
        self._on_finding = on_finding
        self._limit = min(DOCTOR_LIMIT, settings.job.stall_timeout)
        self._found: list[Finding] = []

    def examine(self, environ: Mapping[str, str], problems: Sequence[str]) -> Diagnosis:
        target = Target(self._settings, self._uri)
        on_volume = self._start("target", target.check, self._late_volume)
        on_cluster = self._start("kubernetes", partial(check_cluster, self._settings, self._limit), self._late_cluster)
        try:
            self._report(check_environment(environ, self._settings, problems, self._uri))
            self._report(check_machine())
            self._report(on_volume.findings(self._runner.cancellation))
            if self._uri is not None:
                self._examine_source(self._uri, target)
            self._report(on_cluster.findings(self._runner.cancellation))
        finally:
            on_volume.settle(DOCTOR_CLEANUP)
        shown = self._redactor.redact(self._uri.shown) if self._uri is not None else ""
        return Diagnosis(shown, str(self._settings.job.target), tuple(self._found))

    def _examine_source(self, uri: ArtifactUri, target: Target) -> None:
        try:
            client = make_client(uri, self._settings, self._runner.meter)
        except DownloadError as error:  # a CA bundle that cannot be loaded
            self._report([problem("source", error)])
            return
        with closing(client), self._runner.cancellation.waking(client.abort):
            check = SourceCheck(uri, self._settings, client, self._cache)
            group = self._start("source", check.check, self._late_source)
            # A listing has pages, and each of several servers may be silent for as long as a read lasts.
            self._report(group.findings(self._runner.cancellation))
            servers = check.servers
            client.abort()  # wakes a check that hangs
        if check.manifest is not None:
            room = self._start("space", partial(target.check_room, uri, check.manifest), self._late_volume)
            self._report(room.findings(self._runner.cancellation))
        self._examine_hosts(uri, self._settings, servers, check.optional)
        for text in self._settings.job.mirrors.uris:
            if text != ORIGIN:
                self._examine_mirror(text, check.manifest)

    def _examine_mirror(self, text: str, manifest: Manifest | None) -> None:
        try:
            uri, settings = ArtifactUri.parse(text).at_mirror(self._settings)
            client = make_client(uri, settings, self._runner.meter)
        except DownloadError as error:
            self._report([problem("mirror", error)])
            return
        with closing(client), self._runner.cancellation.waking(client.abort):
            if manifest is not None:
                group = self._start("mirror", partial(check_mirror, uri, settings, manifest, client), self._late_mirror)
                self._report(group.findings(self._runner.cancellation))
            servers = list(client.asked)
            client.abort()
        self._examine_hosts(uri, settings, servers, lambda _: True)

    def _examine_hosts(
        self, uri: ArtifactUri, settings: Settings, servers: Iterable[Origin], optional: Callable[[Origin], bool]
    ) -> None:
        trust, timeouts = make_trust(uri, settings), make_timeouts(settings.deadlines)
        proxies, groups = Proxies(settings.proxies), []
        for origin in servers:
            probe = ServerProbe(origin, trust, proxies, user_agent=USER_AGENT, timeouts=timeouts)
            checks = partial(check_host, origin, probe)
            late = partial(self._late_host, f"{origin.host}:{origin.port}")
            groups.append((optional(origin), self._start("tcp", checks, late)))
        for is_optional, group in groups:
            found = group.findings(self._runner.cancellation)
            self._report(finding.as_note() if is_optional else finding for finding in found)

    def _start(self, name: str, checks: Callable[[], Iterator[Finding]], late: Callable[[], Finding]) -> Group:
        return Group(name, checks, self._limit, late).start()

    def _report(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            shown = finding.with_texts(self._redactor.redact)
            self._found.append(shown)
            self._on_finding(shown)

    def _late_volume(self) -> Finding:
        hint = "the storage behind the volume hangs: see the node's kernel log and the storage system"
        return problem(
            "target", VolumeError(f"{self._settings.job.target} did not answer within {self._limit:g} s", hint=hint)
        )

    def _late_source(self) -> Finding:
        error = Stalled(f"the source did not answer within {self._limit:g} s", hint="the lines of its hosts say more")
        return problem("source", error)

    def _late_mirror(self) -> Finding:
        return note("mirror", f"a mirror did not answer within {self._limit:g} s", "check host, network and proxy")

    def _late_host(self, host: str) -> Finding:
        return note("tcp", f"{host} did not answer within {self._limit:g} s", "check host, network and proxy", host)

    def _late_cluster(self) -> Finding:
        text = f"the API server did not answer within {self._limit:g} s"
        return note("kubernetes", text, "check the network policy; a download works all the same")
