"""Download a bucket as boto3 does it by itself: ENDPOINT BUCKET TARGET KEY..."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import boto3


def main(endpoint: str, bucket: str, target: str, *keys: str) -> None:
    client = boto3.client("s3", endpoint_url=endpoint)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.download_file(bucket, key, f"{target}/{key}"), keys))


if __name__ == "__main__":
    main(*sys.argv[1:])
