"""Who a session signs for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.config.s3_values import Authentication
from downloader.sources.s3.answers import Identity
from downloader.sources.s3.errors import no_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.session import Session

    from downloader.config.s3 import S3Settings


MACHINE = ("container-role", "iam-role")
"""Providers of the credentials of this machine, which are not those of a profile."""


def authenticate(session: Session, settings: S3Settings, trust_file: Callable[[], str]) -> Identity:
    """Give the session its credentials. Raises AccessDenied without any, unless unsigned requests are configured.

    `trust_file` makes a PEM file of all trusted CAs, for providers that have HTTP clients of their own.
    """
    if settings.authentication is Authentication.ANONYMOUS:
        if settings.keys_are_empty and settings.requested_authentication is None:
            return Identity("AWS_ACCESS_KEY_ID is set to nothing, which asks for unsigned requests")
        return Identity("unsigned requests were asked for")
    if settings.has_keys:
        session.set_credentials(settings.access_key_id, settings.secret_access_key, settings.session_token or None)
        return Identity()
    session.set_config_variable("ca_bundle", trust_file())
    # Keys of the process's environment, which may not be the one that the settings were read from.
    for provider in ("env", *(MACHINE if settings.only_profile else ())):
        session.get_component("credential_provider").remove(provider)
    credentials = session.get_credentials()
    if credentials is None:
        raise no_credentials(settings.unusable_keys)
    return Identity(provider=credentials.method)


def origin_of(asker: Identity) -> str:
    """Return a phrase for the log: whose credentials are used."""
    if asker.unsigned:
        return f"unsigned ({asker.unsigned})"
    return f"with credentials from {asker.provider}" if asker.provider else "with the keys of the environment"
