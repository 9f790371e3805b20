"""What calls of the Python API leave alone in the program that makes them: its libraries, threads and other runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import huggingface_hub
import pytest

from downloader import list_files
from tests.servers.published import on_the_hub

if TYPE_CHECKING:
    from tests.servers.hub import Hub

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 800}


@pytest.fixture
def environ(hub: Hub) -> dict[str, str]:
    return dict(on_the_hub(hub, FILES).extra)


def test_the_hubs_own_library_is_as_the_program_left_it(hub: Hub, environ: dict[str, str]) -> None:
    session, telemetry = huggingface_hub.get_session(), huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
    list_files("hf://org/model", environ=environ)

    assert huggingface_hub.get_session() is session
    assert telemetry == huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
    assert sorted(huggingface_hub.HfApi(hub.endpoint, token=False).list_repo_files("org/model")) == sorted(FILES)
