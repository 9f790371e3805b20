"""Two containers on one volume at once: one works, the other waits and then uses what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.command import model
from tests.image.container import Containers, volume
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Held
from tests.waiting import AT_LAST, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub

MIB = 1 << 20
FILES = {"config.json": b"{}", "model.safetensors": Noise(30 * MIB, seed=81).bytes()}
OTHERS = {"other.json": b"[]", "other.safetensors": Noise(5 * MIB, seed=82).bytes()}


def test_of_two_containers_one_works_and_the_other_waits(hub: Hub, containers: Containers, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    hub.create("org/other").commit(OTHERS)
    held = Held()
    hub.faults.add(held, route="cdn", offset=20 * MIB, times=FOREVER)
    environment = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "STALL_TIMEOUT": "600"}
    mounts = {volume(tmp_path / "volume"): "/cache"}
    first = containers.start("hf://org/model", environment=environment, mounts=mounts)
    assert eventually(lambda: hub.log.sent("cdn") > 8 * MIB)
    same = containers.start("hf://org/model", environment=environment, mounts=mounts)
    other = containers.start("hf://org/other", environment=environment, mounts=mounts)
    assert eventually(lambda: all("waiting for process" in one.log() for one in (same, other)))
    held.go_on.set()
    for container in (first, same, other):
        result = container.result(AT_LAST)
        assert result.status == 0, result.stderr
    assert "nothing had to be fetched" in same.log()
    assert model(tmp_path / "volume") == {**FILES, **OTHERS}
