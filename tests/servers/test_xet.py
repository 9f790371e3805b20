"""The Xet services satisfy the real hf_xet, and misbehave when told to."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hf_xet
import pytest

from tests.command import TIMEOUT
from tests.servers.blobs import Noise
from tests.servers.faults import FOREVER, Answer, Cut, Fault, Flip, Reset, Silence, Stall, too_many_requests, web_page
from tests.servers.hub import Hub
from tests.servers.origin import Server
from tests.servers.xet import hash_chunk, hash_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.servers.repository import StoredFile

LONGEST_CHUNK = 128 << 10
FIRST, SECOND = Noise(5 << 20, seed=1), Noise(3 << 20, seed=2)
FILES = {"first.bin": FIRST.bytes(), "both.bin": FIRST.bytes() + SECOND.bytes()}


@dataclass
class Reader:
    """The real client, reading a private repository at one commit."""

    hub: Hub
    files: Mapping[str, StoredFile]
    session: hf_xet.XetSession
    access: dict[str, Any]

    def info(self, path: str) -> hf_xet.XetFileInfo:
        """Return how hf_xet names a file."""
        return hf_xet.XetFileInfo(self.files[path].xet_hash, self.files[path].blob.size)

    def download(self, folder: Path, **seed: object) -> dict[str, bytes]:
        """Download all files at once and return their content."""
        with self.session.new_file_download_group(**seed, **self.access) as group:
            for path in FILES:
                group.start_download_file(self.info(path), str(folder / path))
        return {path: (folder / path).read_bytes() for path in FILES}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.tokens["hf_alice"] = "alice"
        yield hub


def reading(hub: Hub, timeout: timedelta) -> Reader:
    """Make a reader that bears silence for so long, and waits next to nothing between its tries."""
    repository = hub.create("org/model", private=True, members={"alice"})
    sha = repository.commit(FILES)
    config = hf_xet.XetConfig().with_config(
        {
            "client.connect_timeout": timeout,
            "client.read_timeout": timeout,
            "client.retry_base_delay": timedelta(milliseconds=50),
            "client.retry_max_attempts": 2,
            "telemetry.enabled": False,
        }
    )
    access = {
        "token_refresh_url": f"{hub.endpoint}/api/models/org/model/xet-read-token/{sha}",
        "token_refresh_headers": {"Authorization": "Bearer hf_alice"},
    }
    return Reader(hub, repository.commits[sha], hf_xet.XetSession(config), access)


@pytest.fixture
def reader(hub: Hub) -> Reader:
    return reading(hub, timedelta(seconds=3))


@pytest.fixture
def hasty(hub: Hub) -> Reader:
    """One that soon gives up."""
    return reading(hub, timedelta(seconds=0.5))


@pytest.mark.parametrize("runs", [0, 1, 2, 3, 4, 9, 10, 100])
def test_file_hashes_are_those_of_hf_xet(tmp_path: Path, runs: int) -> None:
    # The standard chunking finds no place to cut in a run of one byte, so it cuts where a chunk must end.
    values = random.Random(runs).choices(range(256), k=runs)  # noqa: S311 - test data
    content = b"".join(bytes([value]) * LONGEST_CHUNK for value in values) + b"the last chunk is short" * (runs % 2)
    (tmp_path / "file").write_bytes(content)
    cuts = range(0, len(content), LONGEST_CHUNK)
    ours = hash_file([hash_chunk(content[at : at + LONGEST_CHUNK]) for at in cuts])
    assert ours == hf_xet.hash_files([str(tmp_path / "file")])[0].hash


@pytest.mark.parametrize("version", [1, 2])
def test_a_session_downloads_files_that_share_content(reader: Reader, tmp_path: Path, version: int) -> None:
    hub = reader.hub
    hub.xet.newest_version = version
    assert reader.download(tmp_path) == FILES
    stored = sum(xorb.stored_offsets[-1] for xorb in hub.xet.store.xorbs.values())
    assert stored < 1.01 * (FIRST.size + SECOND.size)
    answered = {record.request.parts[0] for record in hub.log.records("cas") if record.status == 200}
    assert answered == {f"v{version}"}
    assert hub.leaks == []


def test_any_part_of_a_file_can_be_streamed(reader: Reader) -> None:
    with reader.session.new_download_stream_group(**reader.access) as group:
        for start, end in ((0, 1), (65_535, 65_537), (1_000_000, 7_000_000), (8_000_000, FIRST.size + SECOND.size)):
            stream = group.download_stream(reader.info("both.bin"), start=start, end=end)
            assert b"".join(stream) == FILES["both.bin"][start:end]


def test_the_hub_command_uses_xet(reader: Reader, tmp_path: Path) -> None:
    environment = {
        "HF_ENDPOINT": reader.hub.endpoint,
        "HF_TOKEN": "hf_alice",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "PATH": str(Path(sys.executable).parent),
    }
    command = ["hf", "download", "org/model", "--local-dir", str(tmp_path)]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=TIMEOUT)
    assert {path: (tmp_path / path).read_bytes() for path in FILES} == FILES
    assert reader.hub.log.sent("cdn") == 0
    assert reader.hub.log.sent("xorb") > FIRST.size + SECOND.size


def test_an_expired_token_is_refreshed(reader: Reader, tmp_path: Path) -> None:
    stale = reader.hub.xet.access()
    reader.hub.xet.tokens.revoke()
    seed = {"endpoint": stale["casUrl"], "token": stale["accessToken"], "token_expiry_unix_secs": 1}
    assert reader.download(tmp_path, **seed) == FILES
    assert {record.status for record in reader.hub.log.records("cas")} == {200}


@pytest.mark.parametrize(
    ("fault", "route"),
    [
        (Answer(403), "xorb"),
        (Reset(after=100_000), "xorb"),
        (Cut(after=100_000), "xorb"),
        (Stall(after=100_000), "xorb"),
        (web_page(), "xorb"),
        (too_many_requests("0"), "cas"),
        (Answer(503), "cas"),
        (web_page(), "cas"),
        (Silence(), "cas"),
        (Answer(503), "token"),
    ],
)
def test_the_client_gets_over_a_fault_that_passes(reader: Reader, tmp_path: Path, fault: Fault, route: str) -> None:
    reader.hub.faults.add(fault, route=route)
    assert reader.download(tmp_path) == FILES


@pytest.mark.parametrize(
    ("fault", "route"), [(Answer(401), "cas"), (Answer(503), "cas"), (Silence(), "cas"), (Reset(), "xorb")]
)
def test_the_client_gives_up_on_a_fault_that_stays(hasty: Reader, tmp_path: Path, fault: Fault, route: str) -> None:
    hasty.hub.faults.add(fault, route=route, times=FOREVER)
    with pytest.raises(RuntimeError):
        hasty.download(tmp_path)


@pytest.mark.parametrize("close", [Server.refuse, Server.ignore])
def test_the_client_gives_up_on_a_cas_that_it_cannot_reach(
    hasty: Reader, tmp_path: Path, close: Callable[[Server], None]
) -> None:
    close(hasty.hub.xet.server)
    with pytest.raises(RuntimeError):
        hasty.download(tmp_path)


def test_a_fault_in_one_file_leaves_the_others_alone(reader: Reader, tmp_path: Path) -> None:
    name = reader.hub.xet.store.files[reader.files["both.bin"].xet_hash or ""][-1].xorb.name
    reader.hub.faults.add(Answer(404), route="xorb", path=f"*{name}", times=FOREVER)
    with pytest.raises(RuntimeError):
        reader.download(tmp_path)
    assert (tmp_path / "first.bin").read_bytes() == FILES["first.bin"]


def test_the_client_takes_a_wrong_byte(reader: Reader, tmp_path: Path) -> None:
    reader.hub.faults.add(Flip(), route="xorb", offset=1_000_000)
    assert reader.download(tmp_path) != FILES
