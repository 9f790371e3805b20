"""The fixtures of the volume serve its lease as well."""

from tests.volume.conftest import *  # noqa: F403
