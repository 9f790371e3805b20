"""S3: botocore signs requests and finds the endpoint; all bytes go through our own HTTP client."""

from downloader.sources.s3.source import S3Source

__all__ = ["S3Source"]
