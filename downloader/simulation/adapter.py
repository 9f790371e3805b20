"""A simulated adapter: the small files that an adapter has, without network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from downloader.artifact import Manifest, RemoteFile
from downloader.filesystem import discard

if TYPE_CHECKING:
    from downloader.filesystem import Disk

_WEIGHTS = bytes(8 << 10)


def simulate(disk: Disk, folder: str, uri: str, *, base_model: str, rank: int) -> Manifest:
    """Write an adapter to an existing folder and return its manifest."""
    config = json.dumps({"base_model_name_or_path": base_model, "r": rank}).encode() + b"\n"
    contents = {"adapter_config.json": config, "adapter_model.safetensors": _WEIGHTS}
    for name, content in contents.items():
        discard(disk, f"{folder}/{name}")  # an earlier pod of the Job may have been killed while writing it
        handle = disk.create(f"{folder}/{name}")
        try:
            disk.write(handle, 0, content)
            disk.sync(handle)
        finally:
            disk.close(handle)
    disk.sync_folder(folder)
    return Manifest(uri, tuple(RemoteFile(name, len(content)) for name, content in contents.items()))
