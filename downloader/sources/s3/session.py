"""From settings to a botocore session and its S3 client: region, endpoint, addressing style and signature."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from downloader.errors import ConfigurationError
from downloader.sources.s3.credentials import origin_of
from downloader.sources.s3.list_parser import EVENTS, read_contents, read_truncation

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

    from downloader.config.s3 import S3Settings
    from downloader.sources.s3.answers import Identity

DEFAULT_REGION = "us-east-1"

log = logging.getLogger(__name__)


def of_profile(settings: S3Settings) -> S3Settings:
    """Return settings with the endpoint and the region of their profile, where they name none themselves.

    Raises ConfigurationError for a profile that is not in the SDK's files.
    """
    if not settings.profile:
        return settings
    try:
        session = Session(profile=settings.profile)
        found: dict[str, Any] = session.get_scoped_config()
    except BotoCoreError as error:
        hint = "AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name the files; the usual ones are in ~/.aws"
        raise ConfigurationError(f"the profile {settings.profile!r} of an S3 mirror: {error}", hint=hint) from error
    services = session.full_config.get("services", {}).get(found.get("services"), {})
    own = services.get("s3", {}).get("endpoint_url") or found.get("endpoint_url") or ""
    return replace(settings, endpoint=settings.endpoint or own, region=settings.region or found.get("region") or "")


def new_session(settings: S3Settings) -> Session:
    """Return a session that knows what it would otherwise look up in the environment in another way."""
    session = Session(profile=settings.profile or None)
    # The times of a listing are not used, and parsing them takes longer than the rest of it.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    if settings.only_profile or (settings.url is not None and not settings.sts_endpoint):
        # AWS_ENDPOINT_URL means S3. Without this the token service would be looked for there as well.
        session.set_config_variable("ignore_configured_endpoint_urls", value=True)
    region = settings.region
    if not region:
        given = settings.url or settings.only_profile
        region = DEFAULT_REGION if given else session.get_config_variable("region") or DEFAULT_REGION
    session.set_config_variable("region", region)
    return session


def new_client(session: Session, settings: S3Settings, asker: Identity) -> S3Client:
    """Return the session's S3 client, and log where it asks and as whom."""
    region = session.get_config_variable("region")
    client: Any = session.create_client(
        "s3",
        region_name=region,
        endpoint_url=settings.url,
        config=Config(
            signature_version=UNSIGNED if asker.unsigned else settings.signature,
            s3={"addressing_style": settings.style.value, "use_accelerate_endpoint": settings.accelerate},
            use_dualstack_endpoint=settings.dualstack,
            use_fips_endpoint=settings.fips,
            # The retry policy is one for all sources and stands around this one.
            retries={"mode": "standard", "total_max_attempts": 1},
            response_checksum_validation="when_required",
            request_checksum_calculation="when_required",
        ),
    )
    for event in EVENTS:
        client.meta.events.register(event, read_contents)
        client.meta.events.register(event, read_truncation)
    for warning in settings.warnings:
        log.warning("%s", warning)
    log.info("S3 at %s, region %s, %s style, %s", client.meta.endpoint_url, region, settings.style, origin_of(asker))
    return cast("S3Client", client)
