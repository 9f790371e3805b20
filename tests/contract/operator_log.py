"""The operator's reading of a failed pod's log, kept apart from ours and as plain as there: the judge of tests."""

from __future__ import annotations

import re

from downloader.errors import Category
from downloader.operator_log import INFRASTRUCTURE, Classification

BOTH_STATES = (False, True)

_OLD: dict[Classification, tuple[str, ...]] = {
    INFRASTRUCTURE: (
        "RBAC:.*not found",
        "clusterrole.*not found",
        "forbidden.*cannot.*resource",
        "serviceaccount.*cannot",
    ),
    Category.NOT_FOUND: (
        "Repository Not Found",
        "RepositoryNotFoundError",
        "404.*not.*found",
        "not.*found.*404",
        "NoSuchKey",
        "NoSuchBucket",
        "model.*not.*found",
        "file.*not.*found",
        "s3.*404",
    ),
    Category.DENIED: (
        "access.*denied.*s3",
        "s3.*403",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "s3.*unauthorized",
        "aws.*credentials.*not.*found",
        "NoCredentialProviders",
        "Access to model .* is restricted",
        "Cannot access gated repo",
        "Invalid.*token.*huggingface",
        "huggingface.*authentication.*failed",
        r"401.*Unauthorized.*hf\.co",
        r"403.*Forbidden.*hf\.co",
    ),
    Category.STORAGE_FULL: (
        "no space left on device",
        "disk.*full",
        "ENOSPC",
        "quota.*exceeded",
        "storage.*full",
    ),
}
_NEW: dict[Classification, tuple[str, ...]] = {
    Category.NOT_FOUND: ("no objects found",),
    Category.DENIED: ("AccessDenied", "Unable to locate credentials", "repository requires approval"),
}


def filed(log: str, *, newest: bool) -> Classification:
    """Return what the operator makes of a container's whole log."""
    lines = log.removesuffix("\n").split("\n")[-(200 if newest else 50) :]
    for filing, old in _OLD.items():
        for pattern in old + (_NEW.get(filing, ()) if newest else ()):
            if any(re.search(pattern, line, re.IGNORECASE) for line in lines):
                return filing
    return Category.OTHER
