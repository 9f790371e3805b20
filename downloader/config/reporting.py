"""The settings of what a run leaves for programs: its report and its metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.config.addresses import web_endpoint
from downloader.config.env import Malformed, path, variable

if TYPE_CHECKING:
    from pathlib import Path

    from downloader.config.addresses import Endpoint

TEXTFILE = ".prom"
"""The textfile collector of Prometheus' node exporter reads no other files."""


def report_file(text: str) -> Path:
    """Parse AIM_REPORT and AIM_BOM. A minus, which means standard output elsewhere, would be the name of a file."""
    if text == "-":
        raise Malformed("the name of a file")
    return path(text)


def textfile(text: str) -> Path:
    """Parse AIM_METRICS_FILE."""
    if not text.endswith(TEXTFILE):
        raise Malformed(f"a file name that ends in {TEXTFILE}")
    return path(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportingSettings:
    """Report and metrics of a download, written when it ends, also when it fails."""

    report: Path | None = variable(
        "AIM_REPORT", "file for a JSON summary of the run (docs/report.md)", parse=report_file, option="--report FILE"
    )
    metrics_file: Path | None = variable(
        "AIM_METRICS_FILE",
        "file for metrics of the run, for the textfile collector of Prometheus; its name ends in `.prom`",
        parse=textfile,
        option="--metrics-file FILE",
    )
    pushgateway: Endpoint | None = variable(
        "AIM_PUSHGATEWAY",
        "URL of the Prometheus Pushgateway that metrics of the run are sent to; it may contain a login",
        parse=web_endpoint,
        option="--pushgateway URL",
    )

    bom: Path | None = variable(
        "AIM_BOM",
        "file for a bill of materials of the artifact, in CycloneDX 1.6 (docs/report.md); needs the extra `bom`",
        parse=report_file,
        option="--bom FILE",
    )

    @property
    def wanted(self) -> bool:
        """Whether anything is to be left."""
        return any((self.report, self.metrics_file, self.pushgateway, self.bom))
