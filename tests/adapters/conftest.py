"""The adapter disk of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.jobs import FILES, AdapterJobs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub


@pytest.fixture
def jobs(tmp_path: Path) -> AdapterJobs:
    """A new adapter disk."""
    return AdapterJobs(tmp_path / "pod")


@pytest.fixture
def source(hub: Hub, jobs: AdapterJobs) -> str:
    """An adapter on a Hub that the jobs know."""
    hub.create("org/lora").commit(FILES)
    jobs.extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    return "hf://org/lora"
