"""Download a bucket with the S3 client of AWS's common runtime: ENDPOINT BUCKET TARGET KEY..."""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

from awscrt.auth import AwsCredentialsProvider
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import ClientBootstrap, DefaultHostResolver, EventLoopGroup
from awscrt.s3 import S3Client, S3RequestTlsMode, S3RequestType, create_default_s3_signing_config


def main(endpoint: str, bucket: str, target: str, *keys: str) -> None:
    host = urlsplit(endpoint).netloc
    group = EventLoopGroup()
    provider = AwsCredentialsProvider.new_static(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    region = os.environ["AWS_REGION"]
    client = S3Client(
        bootstrap=ClientBootstrap(group, DefaultHostResolver(group)),
        region=region,
        tls_mode=S3RequestTlsMode.DISABLED,
        signing_config=create_default_s3_signing_config(region=region, credential_provider=provider),
    )
    requests = [
        client.make_request(
            type=S3RequestType.GET_OBJECT,
            request=HttpRequest("GET", f"/{bucket}/{key}", HttpHeaders([("host", host)])),
            recv_filepath=f"{target}/{key}",
        )
        for key in keys
    ]
    for request in requests:
        request.finished_future.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
