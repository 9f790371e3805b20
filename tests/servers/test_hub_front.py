"""nginx before the Hub answers as the Hub does, for our own client and for `hf download`."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import model, run
from tests.servers.hub_front import HubFront

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.hub import Hub

FILES = {
    "config.json": b'{"model_type": "demo"}\n',
    "tokenizer/vocab.txt": bytes(range(256)) * 9,
    "model.bin": bytes(range(256)) * 80,
}
"""Two of Git and one of LFS."""


@pytest.fixture
def front(hub: Hub, tmp_path: Path) -> Iterator[HubFront]:
    hub.create("org/model").commit(FILES)
    with HubFront(hub, "org/model", state=tmp_path / "front") as server:
        yield server


def test_we_fetch_a_model_through_it(hub: Hub, front: HubFront, tmp_path: Path) -> None:
    settings = {"HF_ENDPOINT": front.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER"}
    done = run("download", "hf://org/model", tmp_path / "model", extra=settings)

    assert done.status == 0, done.stderr
    assert model(tmp_path / "model") == FILES
    assert not hub.log.records("resolve")


def test_hf_fetches_a_model_through_it(hub: Hub, front: HubFront, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("hf")),
        "download",
        "org/model",
        "--local-dir",
        str(tmp_path / "model"),
    ]
    settings = {"HF_ENDPOINT": front.endpoint, "HF_HUB_DISABLE_XET": "1", "HOME": str(tmp_path), "PATH": "/usr/bin"}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 0, done.stderr
    fetched = {path: hashlib.sha256((tmp_path / "model" / path).read_bytes()).hexdigest() for path in FILES}
    assert fetched == {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}
    assert not hub.log.records("resolve")
