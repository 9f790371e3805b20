"""The variables of KServe's storage initializer, other than those for S3 (`s3.py`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.config.env import Malformed, flag, header_map, items, read, string_list, variable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

HEADERS_SUFFIX = "-headers"


def globs(text: str) -> tuple[str, ...]:
    """Parse a JSON list of globs, or a comma-separated list."""
    return string_list(text) if text.startswith("[") else items(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class KServeSettings:
    """KServe's variables, for every entry point."""

    allow: tuple[str, ...] = variable(
        "STORAGE_ALLOW_PATTERNS",
        "JSON list of globs: download only files that match one of them; used if AIM_HF_INCLUDE is unset",
        parse=globs,
        default=(),
    )
    ignore: tuple[str, ...] = variable(
        "STORAGE_IGNORE_PATTERNS",
        "JSON list of globs: do not download files that match one of them, in addition to AIM_HF_EXCLUDE",
        parse=globs,
        default=(),
    )
    confidential: bool = variable(
        "CONFIDENTIAL_ENABLED",
        "true: KServe expects the model to be decrypted, which is not supported; the run ends with 78",
        parse=flag,
        default=False,
    )
    headers: dict[str, dict[str, str]] | None = variable(
        f"<host>{HEADERS_SUFFIX}",
        "JSON object of headers for http(s) sources on that host; they override AIM_HTTP_HEADERS",
        parse=header_map,
        secret=True,
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], problems: list[str]) -> Self:
        """Read an environment; each invalid value adds a line to `problems`."""
        headers: dict[str, dict[str, str]] = {}
        for name, text in environ.items():
            host = name.removesuffix(HEADERS_SUFFIX)
            if host in ("", name) or not text.strip():
                continue
            try:
                headers[host.lower()] = header_map(text)
            except Malformed as error:
                problems.append(f"{name}: its value is not {error}")
        return dataclasses.replace(read(cls, environ, problems), headers=headers)

    def headers_for(self, host: str) -> dict[str, str]:
        """Return the headers for a host, by names in lower case."""
        return {name.lower(): value for name, value in (self.headers or {}).get(host, {}).items()}
