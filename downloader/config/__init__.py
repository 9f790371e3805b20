"""The settings of a run, and how they are read from environment variables (`docs/environment.md`).

The environment is a mapping that is handed in and read once. Settings are frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from downloader.config.cluster import ClusterSettings
from downloader.config.debug import DebugSettings
from downloader.config.display import DisplaySettings
from downloader.config.env import read
from downloader.config.formats import FormatSettings
from downloader.config.hub import HubSettings
from downloader.config.job import JobSettings
from downloader.config.job_values import REFUSE, SKIP
from downloader.config.kserve import KServeSettings
from downloader.config.proxies import ProxySettings
from downloader.config.reporting import ReportingSettings
from downloader.config.s3 import S3Settings
from downloader.config.secret_values import secrets_of
from downloader.config.sharing import SharingSettings
from downloader.config.signing import SignatureMode, SignatureSettings
from downloader.config.warnings import suspicious_settings
from downloader.config.web import WebSettings
from downloader.deadlines import Deadlines
from downloader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Self

__all__ = [
    "ClusterSettings",
    "DebugSettings",
    "DisplaySettings",
    "FormatSettings",
    "HubSettings",
    "JobSettings",
    "KServeSettings",
    "ProxySettings",
    "ReportingSettings",
    "S3Settings",
    "Section",
    "Settings",
    "SharingSettings",
    "SignatureSettings",
    "WebSettings",
    "invalid",
]


OwnSectionT = TypeVar("OwnSectionT", bound="Section")


class Section(Protocol):
    """Settings that only one scheme needs."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], problems: list[str], /) -> Self:
        """Read an environment; each invalid value adds a line to `problems`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a run. Without arguments they are the defaults."""

    job: JobSettings = field(default_factory=JobSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    web: WebSettings = field(default_factory=WebSettings)
    proxies: ProxySettings = field(default_factory=ProxySettings)
    s3: S3Settings = field(default_factory=S3Settings)
    kserve: KServeSettings = field(default_factory=KServeSettings)
    display: DisplaySettings = field(default_factory=DisplaySettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    debug: DebugSettings = field(default_factory=DebugSettings)
    reporting: ReportingSettings = field(default_factory=ReportingSettings)
    signing: SignatureSettings = field(default_factory=SignatureSettings)
    formats: FormatSettings = field(default_factory=FormatSettings)
    sharing: SharingSettings = field(default_factory=SharingSettings)
    own: Section | None = None
    """The section of the scheme of this run, if it is not one of the above."""
    for_operator: bool = False
    """The operator has started this run, and the defaults are what it expects."""
    warnings: tuple[str, ...] = ()
    """Suspicious settings, for the log. Those of the Hub are among them if the run asks a Hub."""
    s3_problems: tuple[str, ...] = ()
    """What is invalid about S3 in a run whose artifact is not there: it counts once a mirror is."""

    @property
    def deadlines(self) -> Deadlines:
        """The time limits that follow from the stall timeout."""
        return Deadlines.of(self.job.stall_timeout)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], *, section: type[Section] | None = None, for_operator: bool = False
    ) -> Settings:
        """Read an environment. Raises ConfigurationError, whose message names all invalid variables.

        Invalid variables of a scheme count only if the scheme of the run needs this `section`: a Job for hf:// may have
        half of those for S3.
        """
        settings, problems = cls.read(environ, section=section, for_operator=for_operator)
        if problems:
            raise invalid(problems)
        return settings

    @classmethod
    def read(
        cls, environ: Mapping[str, str], *, section: type[Section] | None = None, for_operator: bool = False
    ) -> tuple[Self, list[str]]:
        """Return what `from_environment` does, and a sentence for each invalid variable, which has its default then."""
        problems: list[str] = []
        s3_problems: list[str] = []
        hub = HubSettings.from_environment(environ, problems)
        settings = cls(
            job=read(JobSettings, environ, problems),
            hub=hub,
            web=WebSettings.from_environment(environ, problems),
            proxies=read(ProxySettings, environ, problems),
            s3=S3Settings.from_environment(environ, problems if section is S3Settings else s3_problems),
            kserve=KServeSettings.from_environment(environ, problems),
            display=read(DisplaySettings, environ, problems),
            cluster=read(ClusterSettings, environ, problems),
            debug=read(DebugSettings, environ, problems),
            reporting=read(ReportingSettings, environ, problems),
            signing=read(SignatureSettings, environ, problems),
            formats=read(FormatSettings, environ, problems),
            sharing=SharingSettings.from_environment(environ, problems),
            own=section.from_environment(environ, problems) if section not in (None, HubSettings, S3Settings) else None,
            warnings=(*suspicious_settings(environ), *(hub.warnings if section is HubSettings else ())),
            for_operator=for_operator,
            s3_problems=tuple(s3_problems),
        )
        return settings, problems

    def section(self, kind: type[OwnSectionT]) -> OwnSectionT:
        """Return the section of the scheme of this run; its defaults where no environment was read for that scheme."""
        return self.own if isinstance(self.own, kind) else kind.from_environment({}, [])

    def overridden(self, **chosen: Any) -> Self:  # noqa: ANN401 - each field has a type of its own
        """Return the settings with these fields of a run, reporting, sharing, signatures or formats replaced."""
        reporting = _taken(ReportingSettings, chosen)
        signing = _taken(SignatureSettings, chosen)
        if signing and "signature" not in signing and self.signing.signature is SignatureMode.OFF:
            signing["signature"] = None  # a signer that is named for this run outweighs AIM_SIGNATURE=off
        formats = _taken(FormatSettings, chosen)
        sharing = _taken(SharingSettings, chosen)
        return replace(
            self,
            job=replace(self.job, **chosen),
            reporting=replace(self.reporting, **reporting),
            signing=replace(self.signing, **signing),
            formats=replace(self.formats, **formats),
            sharing=replace(self.sharing, **sharing),
        )

    def secrets(self) -> Iterator[str]:
        """Yield the texts that the redactor has to remove."""
        return secrets_of(self)

    @property
    def skips_unsafe_names(self) -> bool:
        """Skip S3 keys that lead out of the folder, instead of failing."""
        return (self.job.unsafe_names or (SKIP if self.for_operator else REFUSE)) == SKIP


def _taken(section: type[Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Remove the fields of a section from what was chosen, and return them."""
    return {item.name: chosen.pop(item.name) for item in fields(section) if item.name in chosen}


def invalid(problems: Iterable[str]) -> ConfigurationError:
    """Return the error for invalid variables, a sentence for each."""
    return ConfigurationError("; ".join(problems), hint="correct the environment; docs/environment.md lists it")
