"""S3: botocore signs and finds the bucket, every byte goes over our own HTTP plane."""

from downloader.sources.s3.source import S3Source

__all__ = ["S3Source"]
