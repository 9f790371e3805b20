"""What the URI of a mirror says of its service, and settings that hold nothing of any other place.

Credentials go where they are named for. Those of the environment belong to the service that the environment names: the
Hub of HF_ENDPOINT, the S3 service of AWS_ENDPOINT_URL, the web server of the artifact's own URI. What names hosts or
profiles, such as a netrc file, is for any place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.artifact import shown_url
from downloader.config.env import Malformed
from downloader.config.s3_places import settings_of_mirror, split_parameters
from downloader.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from downloader.config import Settings


def of_hub(uri: str, settings: Settings) -> tuple[str, Settings]:
    """Return a URI with an endpoint of its own as it is. Raises UsageError for one that names no repository."""
    from downloader.sources.hub_address import HubAddress  # noqa: PLC0415 - paid for only by a run with mirrors
    from downloader.sources.hub_place import endpoint_and_uri  # noqa: PLC0415 - as above

    HubAddress.parse(endpoint_and_uri(uri)[1])
    return uri, settings


def of_s3(uri: str, settings: Settings) -> tuple[str, Settings]:
    """Return a URI without its parameters, and the settings that these make. Raises UsageError, ConfigurationError."""
    address, parameters = split_parameters(uri)
    if not address.partition("://")[2]:
        raise UsageError(f"{shown_url(uri)!r} names no S3 bucket", hint="write s3://bucket/folder-or-key")
    if not parameters and settings.s3_problems:
        raise ConfigurationError("; ".join(settings.s3_problems), hint=f"{shown_url(uri)} needs them, or ?profile=NAME")
    try:
        return address, replace(settings, s3=settings_of_mirror(settings.s3, parameters))
    except Malformed as error:
        raise UsageError(f"the endpoint of {shown_url(uri)} is not {error}") from None


def of_web(uri: str, settings: Settings) -> tuple[str, Settings]:
    """Return the settings without the headers that are meant for the artifact's own URI. Raises UsageError."""
    from downloader.sources.http_address import HttpAddress  # noqa: PLC0415 - as above

    HttpAddress.parse(uri)
    return uri, replace(settings, web=settings.web.without_credentials())
