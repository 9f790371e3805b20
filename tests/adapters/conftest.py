"""The adapter disk of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.doors import Doors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def doors(tmp_path: Path) -> Doors:
    """A new adapter disk."""
    return Doors(tmp_path / "pod")
