"""What an `s3://` URI of a mirror says of its service: `s3://bucket/folder?profile=near&endpoint=https://host`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from downloader.config.addresses import EXAMPLE, is_service_address
from downloader.config.env import Malformed
from downloader.config.s3_values import AddressingStyle, Authentication

if TYPE_CHECKING:
    from downloader.config.s3 import S3Settings

PARAMETERS = ("profile", "endpoint", "region")


def split_parameters(uri: str) -> tuple[str, dict[str, str]]:
    """Return a URI without its parameters, and these. A question mark that begins none of them is a part of the key."""
    address, mark, query = uri.rpartition("?")
    pairs = [part.partition("=") for part in query.split("&")]
    if not mark or not all(separator and name in PARAMETERS for name, separator, _ in pairs):
        return uri, {}
    return address, {name: unquote(value) for name, _, value in pairs}


def settings_of_mirror(settings: S3Settings, parameters: dict[str, str]) -> S3Settings:
    """Return the settings for a mirror with these parameters: nothing that the environment says of a service counts.

    Its keys are those of a profile of the SDK's files; without a profile, requests are unsigned. Raises Malformed.
    """
    if not parameters:
        return settings
    endpoint, profile = parameters.get("endpoint", ""), parameters.get("profile", "")
    if endpoint and not is_service_address(endpoint):
        raise Malformed(EXAMPLE)
    return replace(
        settings,
        endpoint=endpoint,
        endpoint_host="",
        sts_endpoint="",
        region=parameters.get("region", ""),
        requested_authentication=Authentication.CHAIN if profile else Authentication.ANONYMOUS,
        requested_style=AddressingStyle.PATH if endpoint else None,
        virtual_bucket=None,
        access_key_id="",
        secret_access_key="",
        session_token="",
        keys_are_empty=False,
        unusable_keys="",
        profile=profile,
        only_profile=True,
        accelerate=False,
        requester_pays=False,
        warnings=(),
    )
