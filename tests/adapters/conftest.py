"""The adapter disk of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.doors import FILES, Doors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub


@pytest.fixture
def doors(tmp_path: Path) -> Doors:
    """A new adapter disk."""
    return Doors(tmp_path / "pod")


@pytest.fixture
def source(hub: Hub, doors: Doors) -> str:
    """An adapter on a Hub that the doors know."""
    hub.create("org/lora").commit(FILES)
    doors.extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    return "hf://org/lora"
