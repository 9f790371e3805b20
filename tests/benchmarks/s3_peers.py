"""The peers that download from S3, with signed requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.measure import Tool
from tests.benchmarks.peers import absent, find, listing, module_absent, program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.servers.s3 import S3Server


def s3_peers(server: S3Server, bucket: str, keys: Sequence[str]) -> list[Tool]:
    """Return the tools that download a bucket."""
    environment = {**server.environment(), "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    place = ["--endpoint-url", server.endpoint]

    def library(name: str, module: str) -> Tool:
        return Tool(
            module,
            lambda target: program(name, server.endpoint, bucket, str(target), *keys),
            environment,
            missing=module_absent(module),
        )

    return [
        s5cmd(server.endpoint, bucket, keys, environment),
        library("awscrt_get", "awscrt"),
        library("boto3_get", "boto3"),
        Tool(
            "aws CLI",
            lambda target: [
                find("aws") or "", "s3", "cp", "--recursive", "--only-show-errors", *place, f"s3://{bucket}",
                str(target),
            ],
            environment,
            missing=absent("aws"),
        ),
        Tool(
            "rclone",
            lambda target: [
                find("rclone") or "", "copy", f":s3,provider=Other,env_auth=true,endpoint='{server.endpoint}':{bucket}",
                str(target),
            ],
            {**environment, "RCLONE_CONFIG": "/dev/null"},
            missing=absent("rclone"),
        ),
    ]  # fmt: skip


def s5cmd(
    endpoint: str,
    bucket: str,
    keys: Sequence[str],
    environment: Mapping[str, str],
    *,
    options: Sequence[str] = (),
    prefix: Sequence[str] = (),
) -> Tool:
    """Return s5cmd, which fetches each key of a bucket."""

    def command(target: Path) -> list[str]:
        copies = listing(target, "".join(f"cp s3://{bucket}/{key} {target}/{key}\n" for key in keys))
        return [find("s5cmd") or "", "--endpoint-url", endpoint, *options, "run", copies]

    return Tool("s5cmd", command, environment, prefix=prefix, missing=absent("s5cmd"))
