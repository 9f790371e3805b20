"""What the tests of connections share."""

from __future__ import annotations

import pytest

from downloader.network.tls import Trust


@pytest.fixture(scope="module")
def tls() -> Trust:
    """Trust without any check, which costs no bundle."""
    return Trust(verify=False)
