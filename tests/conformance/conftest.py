"""What the sources of this folder share with those of tests/sources."""

from tests.sources.conftest import sdk_descriptions

__all__ = ["sdk_descriptions"]
