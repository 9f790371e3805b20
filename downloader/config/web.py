"""How web servers are asked, and which CAs all clients trust besides the system's."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.config.env import header_map, path, read, token, variable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """HTTP(S) sources, and the CAs of all clients."""

    token: str = variable("AIM_HTTP_TOKEN", "bearer token for http(s) sources", parse=token, default="", secret=True)
    headers: dict[str, str] | None = variable(
        "AIM_HTTP_HEADERS", "JSON object of headers for http(s) sources", parse=header_map, secret=True
    )
    netrc: Path | None = variable(
        "NETRC", "file with passwords for http(s) sources", parse=path, default_text="`~/.netrc`"
    )
    ca_bundle: Path | None = variable(
        "AIM_CA_BUNDLE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE",
        "PEM file with CAs to trust in addition to the system's",
        parse=path,
    )

    @property
    def bundles(self) -> tuple[Path, ...]:
        """The CA bundles to trust."""
        return (self.ca_bundle,) if self.ca_bundle else ()

    def without_credentials(self) -> Self:
        """Return the settings without the token and the headers, which are for the artifact's own server."""
        return replace(self, token="", headers=None)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], problems: list[str]) -> Self:
        """Read an environment. The default netrc file is that of its HOME, if this user may read it."""
        settings = read(cls, environ, problems)
        usual = Path(environ.get("HOME", ""), ".netrc")
        if settings.netrc is not None or not usual.is_absolute() or not os.access(usual, os.R_OK):
            return settings
        return replace(settings, netrc=usual)
