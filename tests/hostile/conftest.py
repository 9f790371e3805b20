"""What the tests of this folder share with those of the sources."""

from tests.sources.conftest import sdk_descriptions

__all__ = ["sdk_descriptions"]
