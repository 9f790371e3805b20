"""What an `s3://` URI names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from downloader.artifact import shown_url
from downloader.errors import UsageError

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True, slots=True)
class S3Address:
    """`s3://bucket`, `s3://bucket/folder`, `s3://bucket/key`."""

    bucket: str
    path: str
    """What follows the bucket: the prefix of a folder, or a key."""

    @classmethod
    def parse(cls, uri: str) -> S3Address:
        """Raise UsageError for anything else."""
        bucket, _, path = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not BUCKET.fullmatch(bucket):
            raise UsageError(f"{shown_url(uri)[:120]!r} names no S3 bucket", hint="write s3://bucket/folder-or-key")
        if any(part in (".", "..") for part in path.split("/")):
            # Whatever carries the request may take these parts for steps in a folder tree.
            raise UsageError(f"{uri[:120]!r} has a '.' or '..' between slashes", hint="name the folder itself")
        return cls(bucket, path)

    @property
    def prefix(self) -> str:
        """What the keys of the folder begin with: ends at a folder's boundary, empty for the whole bucket."""
        return self.path if not self.path or self.path.endswith("/") else f"{self.path}/"

    @property
    def key(self) -> str | None:
        """The key, if the URI can name a single object."""
        return self.path if self.path and not self.path.endswith("/") else None

    def uri_of(self, key: str) -> str:
        """Return the URI of an object in the same bucket."""
        return uri_of(self.bucket, key)


def uri_of(bucket: str, key: str) -> str:
    """Return the URI of an object, or of the objects whose keys begin with `key`."""
    return f"s3://{bucket}/{key}"
