"""What the S3 servers of the suite have in common, and how tests fill their buckets."""

from __future__ import annotations

import json
import uuid
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from tests.servers.closable import Closable
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from types_boto3_s3.client import S3Client

REGION = "us-east-1"
MIB = 1 << 20
SMALLEST_PART = 5 * MIB
"""What S3 demands of every part of a multipart upload but the last."""


@dataclass(frozen=True)
class Account:
    """Who asks."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The account as AWS's tools read it."""
        token = {"AWS_SESSION_TOKEN": self.session_token} if self.session_token else {}
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key, **token}


class S3Server(Closable):
    """A running S3 service on loopback that checks signatures."""

    endpoint: str
    """Scheme, host and port."""
    account: Account
    """May do everything."""
    stranger: Account | None = None
    """Known to the server but allowed nothing; None where a server has no such thing."""
    anonymous_buckets: bool = False
    """Whether a bucket can be opened to all users with `make_public`."""
    keeps_versions: bool = False
    bundle: Path | None = None
    """The CA that issued its certificate, if it speaks TLS."""

    def client(self, account: Account | None = None) -> S3Client:
        """Return a boto3 client for `account`, by default for the one that may do everything."""
        who = account or self.account
        if who not in self._clients:
            self._clients[who] = self._make_client(who)
        return self._clients[who]

    @cached_property
    def _clients(self) -> dict[Account, S3Client]:
        return {}

    def _make_client(self, who: Account) -> S3Client:
        return boto3.session.Session(
            aws_access_key_id=who.access_key_id,
            aws_secret_access_key=who.secret_access_key,
            aws_session_token=who.session_token,
            region_name=REGION,
        ).client(
            "s3",
            endpoint_url=self.endpoint,
            verify=str(self.bundle) if self.bundle else None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                connect_timeout=AT_LAST,
                read_timeout=AT_LAST,
            ),
        )

    def environment(self, account: Account | None = None) -> dict[str, str]:
        """Return what a download Job would have to be told to use this server."""
        trust = {"AWS_CA_BUNDLE": str(self.bundle)} if self.bundle else {}
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            **trust,
            **(account or self.account).environment,
        }

    def make_public(self, bucket: str, *, listing: bool = True) -> None:
        """Let all users read the bucket's objects and, if wanted, list them."""
        place = f"arn:aws:s3:::{bucket}"
        rights = {"s3:GetObject": f"{place}/*"} | ({"s3:ListBucket": place} if listing else {})
        statements = [
            {"Effect": "Allow", "Principal": "*", "Action": [action], "Resource": [resource]}
            for action, resource in rights.items()
        ]
        self.client().put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements})
        )

    @abstractmethod
    def stop(self) -> None:
        """End the server."""

    def close(self) -> None:
        """End the server and its clients."""
        for client in self._clients.values():
            client.close()
        self.stop()


def new_bucket(client: S3Client) -> str:
    """Make a bucket for this caller only and return its name."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return name


def fill_bucket(client: S3Client, bucket: str, objects: Mapping[str, bytes]) -> None:
    """Make a bucket that holds these objects: key → content."""
    client.create_bucket(Bucket=bucket)
    for key, content in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=content)


def upload(client: S3Client, bucket: str, key: str, content: bytes, *, checksum: str | None = None) -> str:
    """Upload in one piece, with a checksum such as `CRC64NVME` or `SHA256`; return the ETag."""
    extra: dict[str, Any] = {"ChecksumAlgorithm": checksum} if checksum else {}
    return client.put_object(Bucket=bucket, Key=key, Body=content, **extra)["ETag"]


def upload_in_parts(
    client: S3Client,
    bucket: str,
    key: str,
    content: bytes,
    *,
    part_size: int = SMALLEST_PART,
    checksum: str | None = None,
) -> str:
    """Upload in parts of `part_size` bytes, with checksums if named; return the ETag."""
    extra: dict[str, Any] = {"ChecksumAlgorithm": checksum} if checksum else {}
    upload_id = client.create_multipart_upload(Bucket=bucket, Key=key, **extra)["UploadId"]
    parts: list[Any] = []
    for number, start in enumerate(range(0, len(content), part_size), 1):
        piece = content[start : start + part_size]
        answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=piece, **extra)
        sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        parts.append({"PartNumber": number, "ETag": answer["ETag"], **sums})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})
    return client.head_object(Bucket=bucket, Key=key)["ETag"]
