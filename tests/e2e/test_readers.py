"""The volume as others see it while a run works on it: nothing under a final name is ever incomplete or wrong.

Modes, umask and setgid folders are in tests/volume/test_modes.py, users without a name in tests/image.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.command import finish, model, run, start
from tests.servers.blobs import Noise
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.hub import Hub

MIB = 1 << 20
MARKER = ".artifact.sha256"
SIZES = {f"part-{number:02}.bin": 3000 + number for number in range(40)}
SIZES |= {f"sub/model-{number}.safetensors": 11 * MIB + number for number in range(4)}
FILES = {path: Noise(size, seed).bytes() for seed, (path, size) in enumerate(SIZES.items(), start=80)}
DIGESTS = {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}


class Reader(threading.Thread):
    """Looks at a volume as often as it can, and notes whatever must not be there."""

    def __init__(self, target: Path) -> None:
        super().__init__(daemon=True)
        self.complaints: list[str] = []
        self.looks = 0
        self.seen: set[str] = set()
        self._target = target
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            self.looks += 1
            for path in [*FILES, MARKER]:
                self._look(path)
            time.sleep(0)

    def _look(self, path: str) -> None:
        try:
            with (self._target / path).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if path == MARKER:
                    self._look_at_the_list(file.read().decode())
                elif size != len(FILES[path]):
                    self.complaints.append(f"{path} has {size} bytes")
                elif path not in self.seen and hashlib.file_digest(file, "sha256").hexdigest() != DIGESTS[path]:
                    self.complaints.append(f"{path} is wrong")
        except FileNotFoundError:
            if path in self.seen:
                self.complaints.append(f"{path} was there and is gone")
        else:
            self.seen.add(path)

    def _look_at_the_list(self, text: str) -> None:
        listed = {line.split("  ")[1] for line in text.splitlines() if not line.startswith("#")}
        if listed != set(FILES):
            self.complaints.append(f"the list names {len(listed)} files")
        if missing := [path for path in FILES if not (self._target / path).exists()]:
            self.complaints.append(f"the list is there before {missing}")

    def end(self) -> list[str]:
        self._ended.set()
        self.join()
        return self.complaints


@pytest.mark.parametrize("protocol", ["XET", "HF_TRANSFER", "HTTP"])
def test_readers_see_whole_files_or_none(protocol: str, hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    target = tmp_path / "t"
    extra = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "h"),
        "AIM_DOWNLOADER_PROTOCOL": protocol,
        "AIM_BANDWIDTH": "30M",
    }
    reader = Reader(target)
    reader.start()
    process = start("download", "hf://org/model", target, extra=extra)
    assert eventually(lambda: bool(reader.seen))
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    result = run("download", "hf://org/model", target, extra=extra)
    assert eventually(lambda: MARKER in reader.seen)
    assert reader.end() == []
    assert result.status == 0, result.stderr
    assert reader.looks > 20
    assert model(target) == FILES


def test_a_reader_that_has_a_damaged_file_open_keeps_what_it_has_while_it_is_mended(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit(FILES)
    extra = {"HF_ENDPOINT": hub.endpoint, "AIM_DOWNLOADER_PROTOCOL": "HTTP"}
    assert run("download", "hf://org/model", tmp_path, extra=extra).status == 0
    victim = tmp_path / "sub/model-0.safetensors"
    damaged = bytearray(FILES["sub/model-0.safetensors"])
    damaged[5000] ^= 1
    victim.write_bytes(damaged)
    with victim.open("rb") as open_file:
        assert run("download", "hf://org/model", tmp_path, extra=extra).status == 0
        assert open_file.read() == damaged
    assert victim.read_bytes() == FILES["sub/model-0.safetensors"]
