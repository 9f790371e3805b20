"""Several processes on a volume that shows what others have written only as NFS promises it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.command import finish, model, start
from tests.servers.blobs import Noise
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub

MIB = 1 << 20
FILES = {
    "config.json": b"{}",
    "model.safetensors": Noise(80 * MIB + 17, seed=95).bytes(),
}
SIZE = sum(map(len, FILES.values()))


def test_each_byte_comes_once_although_machines_keep_what_they_have_read(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    own = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HF_TRANSFER", "AIM_BANDWIDTH": "8M"}
    module = ["tests.close_to_open", "3"]
    runs = [
        start("download", "hf://org/model", tmp_path, "--shard", f"{index}/3", extra=own, module=module)
        for index in range(3)
    ]
    results = [finish(run) for run in runs]
    assert [result.status for result in results] == [0] * 3, [result.stderr for result in results]
    assert model(tmp_path) == FILES
    assert not any("discarded" in result.stderr for result in results), [result.stderr for result in results]
    assert eventually(lambda: SIZE - 2 <= hub.log.sent("cdn") <= 1.02 * SIZE)
