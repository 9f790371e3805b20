"""Values that S3's variables may have, and how their texts are read."""

from __future__ import annotations

from enum import StrEnum

from downloader.config.env import Malformed, flag


class Authentication(StrEnum):
    """Where credentials come from."""

    CHAIN = "chain"
    """The SDK's providers: environment, profile, web identity, pod identity, instance role."""
    STATIC = "static"
    """The two keys of the environment and nothing else."""
    ANONYMOUS = "anonymous"
    """Requests are not signed."""


class AddressingStyle(StrEnum):
    """Where the bucket stands in an address."""

    PATH = "path"
    VIRTUAL = "virtual"
    AUTO = "auto"


def signature_version(text: str) -> str:
    """Parse AIM_S3_SIGNATURE_VERSION; returned as botocore calls it."""
    if text.lower() in ("s3v4", "v4", "4"):
        return "s3v4"
    if text.lower() in ("s3", "s3v2", "v2", "2"):
        return "s3"
    raise Malformed("s3v4 (version 4) or s3 (version 2)")


def request_payer(text: str) -> bool:
    """Parse S3_REQUEST_PAYER."""
    return True if text.lower() == "requester" else flag(text)


def log_level(text: str) -> str:
    """Parse AIM_S3_LOG_LEVEL: anything unusable means unset, since no run should fail for its log."""
    return text.upper() if text.upper() in ("DEBUG", "INFO", "WARNING", "ERROR") else ""
