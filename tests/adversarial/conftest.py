"""What the tests of this folder share with those of the sources."""

from tests.sources.conftest import plain_web, s3_source, sdk_descriptions

__all__ = ["plain_web", "s3_source", "sdk_descriptions"]
