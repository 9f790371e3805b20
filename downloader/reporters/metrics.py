"""Metrics of a run for Prometheus: in a file for its textfile collector, or sent to its Pushgateway (ADR 79)."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest, pushadd_to_gateway
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from downloader.reporters.report_file import write_whole
from downloader.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prometheus_client.core import Metric

    from downloader.redaction import Redactor
    from downloader.reporters.run_report import RunReport

NAMESPACE: Final = "artifact_downloader"
OPENING: Final = f"# HELP {NAMESPACE}_".encode()


def write_metrics(report: RunReport, path: Path, redactor: Redactor) -> None:
    """Write the metrics of a run for the textfile collector. Raises OSError."""
    write_whole(path, OPENING, [generate_latest(_registry(report, redactor))])


def push_metrics(
    report: RunReport,
    url: str,
    authorization: str,
    redactor: Redactor,
    *,
    timeout: float,
    context: ssl.SSLContext | None = None,
) -> None:
    """Add the metrics of a run to those that a Pushgateway has of earlier runs with this URI. Raises OSError.

    `timeout` limits each step of the request, in seconds. `context` has the certificates to trust over https.
    """
    key = {"uri": redactor.redact(report.uri or "")}
    registry = _registry(report, redactor)
    pushadd_to_gateway(url, NAMESPACE, registry, key, timeout, _handler(authorization, context))


class _Metrics:
    """Collects the metrics of one run, each with the artifact's URI: files of several runs can stand side by side."""

    def __init__(self, report: RunReport, redactor: Redactor) -> None:
        self._report = report
        self._redact = redactor.redact
        self._uri = redactor.redact(report.uri or "")

    def collect(self) -> Iterator[Metric]:
        report, final = self._report, self._report.snapshot
        program = InfoMetricFamily(NAMESPACE, "The run and the program.", labels=["uri"])
        revision, target = report.revision or "", self._redact(str(report.target or ""))
        program.add_metric([self._uri], {"version": __version__, "revision": revision, "target": target})
        yield program
        yield self._gauge("success", "1 if the last run succeeded, otherwise 0.", int(report.error is None))
        yield self._gauge("exit_status", "Exit status of the last run.", report.exit_status)
        yield self._gauge("run_duration_seconds", "Duration of the last run.", report.seconds)
        ended = report.started + report.seconds
        yield self._gauge("last_run_timestamp_seconds", "When the last run ended.", ended)
        if report.error is None:
            yield self._gauge("last_success_timestamp_seconds", "When the last run that succeeded ended.", ended)
        yield self._gauge("artifact_bytes", "Bytes of the artifact; 0 if it was not listed.", final.total_bytes)
        yield self._gauge("artifact_files", "Files of the artifact; 0 if it was not listed.", final.total_files)
        yield self._gauge("volume_bytes", "Bytes of the artifact that are on the volume.", final.done_bytes)
        yield self._gauge("volume_files", "Files of the artifact that are on the volume.", final.done_files)
        yield self._counter("bytes_reused_total", "Bytes that were on the volume before the run.", final.reused_bytes)
        yield from self._by_protocol()
        yield from self._by_place()
        phases = self._family(GaugeMetricFamily, "phase_duration_seconds", "Time in each phase of the run.", "phase")
        for phase, seconds in final.phases:
            phases.add_metric([self._uri, phase], seconds)
        yield phases
        memory = self._family(GaugeMetricFamily, "peak_memory_bytes", "Peak memory of the run.", "process")
        memory.add_metric([self._uri, "own"], report.memory.own)
        memory.add_metric([self._uri, "children"], report.memory.children)
        yield memory

    def _by_protocol(self) -> Iterator[Metric]:
        received = self._family(CounterMetricFamily, "bytes_received_total", "Bytes that arrived.", "protocol")
        discarded = self._family(CounterMetricFamily, "bytes_discarded_total", "Bytes that were damaged.", "protocol")
        attempts = self._family(CounterMetricFamily, "attempts_total", "Attempts of the run.", "protocol")
        for protocol, (arrived, damaged) in self._report.by_protocol.items():
            received.add_metric([self._uri, protocol], arrived)
            discarded.add_metric([self._uri, protocol], damaged)
            made = sum(attempt.protocol is protocol for attempt in self._report.attempts)
            attempts.add_metric([self._uri, protocol], made)
        yield from (received, discarded, attempts)

    def _by_place(self) -> Iterator[Metric]:
        if not (places := self._report.by_place):
            return
        received = self._family(CounterMetricFamily, "place_bytes_received_total", "Bytes that arrived.", "place")
        discarded = self._family(CounterMetricFamily, "place_bytes_discarded_total", "Damaged bytes.", "place")
        for place, (arrived, damaged) in places.items():
            received.add_metric([self._uri, self._redact(place)], arrived)
            discarded.add_metric([self._uri, self._redact(place)], damaged)
        yield from (received, discarded)

    def _family(
        self, kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, meaning: str, *labels: str
    ) -> GaugeMetricFamily | CounterMetricFamily:
        return kind(f"{NAMESPACE}_{name}", meaning, labels=["uri", *labels])

    def _gauge(self, name: str, meaning: str, value: float) -> Metric:
        return self._one(GaugeMetricFamily, name, meaning, value)

    def _counter(self, name: str, meaning: str, value: float) -> Metric:
        return self._one(CounterMetricFamily, name, meaning, value)

    def _one(
        self, kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, meaning: str, value: float
    ) -> Metric:
        family = self._family(kind, name, meaning)
        family.add_metric([self._uri], value)
        return family


def _registry(report: RunReport, redactor: Redactor) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Metrics(report, redactor))
    return registry


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The login is for the Pushgateway alone."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing: the redirect becomes an error."""


def _handler(authorization: str, context: ssl.SSLContext | None) -> Callable[..., Callable[[], None]]:
    """Return how prometheus_client sends its request: with a login, and errors without the URL."""
    secure = [urllib.request.HTTPSHandler(context=context)] if context is not None else []

    def prepare(
        url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        def send() -> None:
            request = urllib.request.Request(url, data, dict(headers), method=method)  # noqa: S310 - http(s), by its parser
            if authorization:
                request.add_header("Authorization", authorization)
            try:
                urllib.request.build_opener(_NoRedirect, *secure).open(request, timeout=timeout).close()
            except urllib.error.HTTPError as error:
                raise OSError(f"it answered {error.code} {error.reason}") from error
            except urllib.error.URLError as error:
                raise error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason)) from error

        return send

    return prepare
