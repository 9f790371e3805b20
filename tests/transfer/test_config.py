"""How many connections a ranged transport has, for which files, and how much memory that takes."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile, Span
from downloader.cancellation import Cancellation
from downloader.config import Settings
from downloader.config.s3 import S3Settings
from downloader.progress import ProgressMeter
from downloader.runs.processes import Processes
from downloader.runs.wiring import given_connections, make_transfer_config
from downloader.sources.concurrency import ConcurrencyController
from downloader.sources.registry import ArtifactUri
from downloader.transfer.config import MEMORY, TransferConfig
from downloader.transfer.ranged import Ranged
from downloader.volume import VerifiedFile, Volume
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from downloader.errors import DownloadError, IntegrityError
    from downloader.transfer import CompletedFile
    from downloader.volume import Partial

MIB = 1 << 20
URI = "memory://artifact"
CONNECTIONS = 8


def config_of(uri: str = "s3://bucket/m", **environ: str) -> TransferConfig:
    settings = Settings.from_environment({"AIM_CPUS": "64", **environ}, section=S3Settings)
    return make_transfer_config(ArtifactUri.parse(uri), settings, Processes(settings, protocols=()))


@pytest.mark.parametrize(
    ("uri", "environ", "connections"),
    [
        ("https://host/model", {}, (4, 16)),
        ("https://host/model", {"AIM_CPUS": "64"}, (8, 16)),
        ("https://host/model", {"AIM_CPUS": "2"}, (1, 16)),
        ("https://host/model", {"AIM_CONNECTIONS": "33"}, (4, 4)),
        ("https://host/model", {"AIM_CONNECTIONS": "3"}, (1, 1)),
        ("s3://bucket/m", {"AIM_S3_MAX_WORKERS": "3", "AIM_S3_MAX_CONCURRENCY": "8"}, (3, 3)),
        ("s3://bucket/m", {"AIM_S3_MAX_WORKERS": "1", "AIM_S3_MAX_CONCURRENCY": "2"}, (1, 1)),
    ],
)
def test_each_of_eight_processes_has_its_own_connections_unless_their_number_is_given(
    uri: str, environ: dict[str, str], connections: tuple[int, int]
) -> None:
    environ = {"AIM_CPUS": "16", "AIM_PROCESSES": "8", **environ}
    settings = Settings.from_environment(environ, section=S3Settings)
    given = given_connections(ArtifactUri.parse(uri), settings)
    processes = Processes(settings, protocols=(), connections=given, memory=1 << 40)
    processes.settle(1 << 40)
    config = make_transfer_config(ArtifactUri.parse(uri), settings, processes)
    assert (config.initial_connections, config.max_connections) == connections
    assert given is None or processes.count * config.max_connections <= given


@pytest.mark.parametrize(("processors", "connections"), [(1, 2), (2, 4), (3, 6), (4, 8), (64, 8)])
def test_few_processors_have_few_connections_at_first(processors: int, connections: int) -> None:
    for uri in ("hf://org/model", "s3://bucket/m", "https://host/model"):
        config = config_of(uri, AIM_CPUS=str(processors))
        assert (config.initial_connections, config.max_connections) == (connections, 16)
    assert config_of("https://host/model", AIM_CONNECTIONS="9").initial_connections == 9


@pytest.mark.parametrize(
    ("environ", "connections"),
    [
        ({}, 8),
        ({"AIM_CONNECTIONS": "30"}, 30),
        ({"AIM_S3_MAX_WORKERS": "1"}, 10),
        ({"AIM_S3_MAX_CONCURRENCY": "2"}, 16),
        ({"AIM_S3_MAX_WORKERS": "3", "AIM_S3_MAX_CONCURRENCY": "4"}, 12),
        ({"AIM_S3_MAX_WORKERS": "64", "AIM_S3_MAX_CONCURRENCY": "64"}, 64),
        ({"AIM_S3_MAX_WORKERS": "3", "AIM_CONNECTIONS": "2"}, 2),
        ({"AIM_S3_MAX_WORKERS": "1", "AIM_S3_MAX_CONCURRENCY": "2", "AIM_CONNECTIONS": "9"}, 2),
    ],
)
def test_the_environment_says_how_many_connections_s3_has(environ: dict[str, str], connections: int) -> None:
    assert config_of(**environ).initial_connections == connections


def test_what_is_said_of_s3_holds_for_s3_alone() -> None:
    found = config_of("hf://org/model", AIM_S3_MAX_WORKERS="2", AIM_S3_MAX_CONCURRENCY="2")
    assert (found.initial_connections, found.max_files, found.max_connections_per_file) == (8, None, None)


def test_the_size_of_a_request_is_not_that_of_a_buffer() -> None:
    file = RemoteFile("model", 1 << 40)
    for mebibytes in (8, 5, 5120):
        found = config_of(AIM_S3_MULTIPART_CHUNKSIZE_MB=str(mebibytes))
        assert found.request_size(file) == mebibytes * MIB
        assert found.buffer_size == config_of().buffer_size


@pytest.mark.parametrize("connections", [1, 8, 9, 20, 64])
def test_memory_is_the_same_for_any_number_of_connections(connections: int) -> None:
    found = TransferConfig.of(connections)
    assert found.buffers > found.max_connections == found.initial_connections == connections
    assert found.buffers * found.buffer_size <= MEMORY


class Shelf:
    """A source that keeps everything in memory and counts who reads."""

    def __init__(self, files: Mapping[str, bytes], awaited: int) -> None:
        """Bodies return no byte before that many of them have been open at the same time."""
        self._files = files
        self._awaited = awaited
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self.most = 0
        self.most_files = 0
        self.most_per_file = 0

    def version(self) -> None:
        return None

    def manifest(self) -> Manifest:
        files = [
            RemoteFile(path, len(data), (Digest(Algorithm.SHA256, hashlib.sha256(data).hexdigest()),))
            for path, data in self._files.items()
        ]
        return Manifest(URI, tuple(files))

    def open(self, file: RemoteFile, span: Span) -> Reader:
        return Reader(self, file.path, memoryview(self._files[file.path])[span.start : span.stop])

    def prefetch(self, pieces: Sequence[tuple[RemoteFile, Span]]) -> None:
        """Have everything already."""

    def close(self) -> None:
        """Hold nothing."""

    @property
    def crowded(self) -> bool:
        return self.most >= self._awaited

    def count(self, path: str, change: int) -> None:
        with self._lock:
            self._open[path] += change
            self.most = max(self.most, self._open.total())
            self.most_files = max(self.most_files, len(+self._open))
            self.most_per_file = max(self.most_per_file, self._open[path])


class Reader:
    """Waits until enough readers have met."""

    def __init__(self, shelf: Shelf, path: str, data: memoryview) -> None:
        self._shelf = shelf
        self._path = path
        self._data = data
        shelf.count(path, 1)

    def readinto(self, view: memoryview, /) -> int:
        assert eventually(lambda: self._shelf.crowded)
        count = min(len(view), len(self._data))
        view[:count] = self._data[:count]
        self._data = self._data[count:]
        if count and not self._data:
            self._shelf.count(self._path, -1)
        return count

    def interrupt(self) -> None:
        """Nothing blocks."""

    def close(self) -> None:
        """Hold nothing: what is read to its end counts no more."""


class Sink:
    """Gives files their names, whatever their digests are."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    def inspect(self, file: RemoteFile, head: bytes, hashed: int) -> int:
        del file, head, hashed
        return 0

    def begin(self, file: RemoteFile) -> Partial:
        return self._volume.partial(file)

    def commit(self, completed_files: Sequence[CompletedFile]) -> Mapping[str, IntegrityError]:
        self._volume.commit(
            VerifiedFile(partial, results[Algorithm.SHA256], "") for partial, results, _head in completed_files
        )
        return {}

    def fail(self, file: RemoteFile, error: DownloadError) -> None:
        raise AssertionError(file.path) from error


@pytest.mark.parametrize(
    ("limits", "files", "per_file"),
    [
        ({}, 8, 8),
        ({"max_files": 1}, 1, 8),
        ({"max_connections_per_file": 1}, 8, 1),
        ({"max_files": 2, "max_connections_per_file": 2}, 2, 2),
    ],
)
def test_the_limits_hold_while_everything_arrives(
    tmp_path: Path, limits: dict[str, int], files: int, per_file: int
) -> None:
    awaited = 1 if limits else CONNECTIONS
    shelf = Shelf({f"{number}": bytes([number]) * (3 * MIB) for number in range(6)}, awaited)
    meter, cancellation = ProgressMeter(), Cancellation()
    with Volume(tmp_path) as volume, volume.lease(URI):
        config = TransferConfig.of(CONNECTIONS, request_size=MIB, stream_size=0, **limits)
        transport = Ranged(shelf, meter, cancellation, config, ConcurrencyController(cancellation, meter.clock))
        transport.fetch(shelf.manifest().files, Sink(volume))
    assert {path.name: path.read_bytes()[:1] for path in tmp_path.glob("[0-9]")} == {
        f"{number}": bytes([number]) for number in range(6)
    }
    assert 1 <= shelf.most_files <= files
    assert 1 <= shelf.most_per_file <= per_file
    if not limits:
        assert shelf.most_per_file > 1 < shelf.most_files


@pytest.mark.parametrize(
    ("limit", "most"), [(64 * MIB, 16 * MIB), (256 * MIB, MEMORY), (1 << 40, MEMORY), (MIB, 2 * MIB)]
)
def test_buffers_take_a_quarter_of_the_memory_that_there_is(limit: int, most: int) -> None:
    settings = Settings.from_environment({"AIM_CPUS": "64"})
    processes = Processes(settings, protocols=(), memory=limit)
    found = make_transfer_config(ArtifactUri.parse("https://host/model"), settings, processes)
    assert found.buffers > found.max_connections
    assert found.buffers * found.buffer_size <= most
