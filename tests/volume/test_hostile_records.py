"""Whatever other programs wrote into our records on a volume, the run ends in right bytes, and nothing outside changes.

Bytes that are no record at all are tried in test_journal.py and test_checksums.py; these here are well-formed.
"""

from __future__ import annotations

import json
import os
import tempfile
import tracemalloc
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from downloader.artifact import Span
from downloader.errors import DownloadError, VolumeError
from downloader.filesystem.local import Disk
from downloader.filesystem.tree import clear
from downloader.integrity.checksum_file import MARKER
from downloader.lease.lease import parse_lease
from downloader.lease.process_id import ProcessIdentity
from downloader.volume import FileState, Volume
from downloader.volume.completion import PREVIOUS
from downloader.volume.record_log import COMMIT_LOG, decode, encode, read, read_commit_log
from tests.clocks import Clock
from tests.command import content, model, run
from tests.volume.artifacts import URI, download, fill, manifest_of, noise, remote, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = {"config.json": b"{}", "folder/model.bin": noise(50_000, 5)}
MANIFEST = manifest_of(FILES)
PRECIOUS = b"what no run may touch"
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([-1, 0, 1 << 63, 1 << 64, 10**400, True]))
PATHS = st.sampled_from(
    [
        "config.json",
        "folder/model.bin",
        "folder",
        "../outside",
        "/etc/passwd",
        "",
        ".",
        "..",
        MARKER,
        COMMIT_LOG,
        "a\0b",
    ]
)
TEXT = st.one_of(st.text(max_size=20), PATHS, st.sampled_from([sha256(data) for data in FILES.values()]))
JSON = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


@contextmanager
def place() -> Iterator[Path]:
    """Make a target with something precious beside it, and see that this stays what and where it is."""
    with tempfile.TemporaryDirectory() as folder:
        outside, target = Path(folder, "outside"), Path(folder, "target")
        outside.write_bytes(PRECIOUS)
        target.mkdir()
        yield target
        assert outside.read_bytes() == PRECIOUS
        assert sorted(path.name for path in Path(folder).iterdir()) == ["outside", "target"]


def record_line(fields: list[Any]) -> bytes:
    """Write a line with a right checksum, also of what our own runs never write."""
    return encode(*fields)


def brought(target: Path) -> None:
    """See that a run mends whatever is there."""
    with Volume(target, ttl=1) as volume:
        download(volume, FILES)
        assert volume.inventory(MANIFEST).published
        assert volume.verify().damaged == ()
    assert model(target) == FILES


ENTRIES = st.tuples(st.sampled_from(["file", "File", 7]), TEXT, NUMBERS, TEXT, TEXT, NUMBERS, NUMBERS, TEXT).map(list)


@SLOW
@given(st.lists(st.one_of(ENTRIES, st.lists(JSON, max_size=9)), max_size=6))
def test_no_commit_log_misleads_a_run(lines: list[list[Any]]) -> None:
    with place() as target:
        (target / ".downloading").mkdir()
        (target / COMMIT_LOG).write_bytes(b"".join(map(record_line, lines)))
        brought(target)


@pytest.mark.parametrize("published", [True, False], ids=["with sha256", "without digests"])
def test_a_commit_log_does_not_vouch_for_planted_bytes(published: bool) -> None:  # noqa: FBT001
    """A foreign one, on a shared volume: everything that it says about the files can be found out."""
    manifest = manifest_of(FILES, published=published)
    with place() as target:
        (target / ".downloading").mkdir()
        (target / "folder").mkdir()
        for file in manifest.files:
            path = target / file.path
            path.write_bytes(b"E" * file.size)
            found = path.stat()
            facts = (sha256(FILES[file.path]), file.identity, found.st_mtime_ns, found.st_ino, "sha256")
            with (target / COMMIT_LOG).open("ab") as commit_log:
                commit_log.write(record_line(["file", file.path, file.size, *facts]))
        with Volume(target) as volume:
            assert not volume.inventory(manifest).having(FileState.VERIFIED)
            assert download(volume, FILES, manifest=manifest) == sum(map(len, FILES.values()))
        assert model(target) == FILES


def test_the_list_of_an_interrupted_run_does_not_vouch_for_planted_bytes() -> None:
    with place() as target:
        with Volume(target) as volume:
            download(volume, FILES)
        (target / ".downloading").mkdir()
        (target / MARKER).rename(target / PREVIOUS)
        for file in MANIFEST.files:
            before = (target / file.path).stat()
            (target / file.path).write_bytes(b"E" * file.size)
            os.utime(target / file.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with Volume(target) as volume:
            assert not volume.inventory(MANIFEST).having(FileState.VERIFIED)
            assert download(volume, FILES) == sum(map(len, FILES.values()))
        assert model(target) == FILES


@pytest.mark.slow
def test_a_long_foreign_commit_log_takes_no_more_memory_than_the_artifact() -> None:
    with place() as target:
        (target / ".downloading").mkdir()
        lines = (record_line(["file", f"p{number}", 1, "0" * 64, "1" * 32]) for number in range(100_000))
        (target / COMMIT_LOG).write_bytes(b"".join([*lines, record_line(["file", "config.json", 2, "a", "b"])]))
        disk = Disk(target)
        tracemalloc.start()
        try:
            assert list(read_commit_log(disk, FILES)) == ["config.json"]
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
            disk.close_all()


@SLOW
@given(st.lists(st.lists(JSON, max_size=4), max_size=6))
@example([["bytes", 10**400, 10**401]])
@example([["bytes", True, 1e308]])
def test_no_journal_misleads_a_run(lines: list[list[Any]]) -> None:
    data = FILES["folder/model.bin"]
    file = remote("folder/model.bin", data)
    with place() as target, Volume(target, journal_above=1000) as volume:
        with volume.lease(URI):
            partial = volume.partial(file)
            partial.write(0, memoryview(bytearray(data[:20_000])))
            partial.complete(Span(0, 20_000))
            partial.close()
        journal = next(target.glob(".downloading/parts.*/*.journal"))
        with journal.open("ab") as opened:
            opened.write(b"".join(map(record_line, lines)))
        with volume.lease(URI):
            assert fill(volume, file, data) == 30_000
        assert (target / "folder/model.bin").read_bytes() == data


HOLDERS = st.fixed_dictionaries(
    {"token": JSON, "uri": JSON, "host": JSON, "boot": JSON, "namespace": JSON, "pid": JSON, "started": JSON}
)


@SLOW
@given(st.one_of(HOLDERS, JSON), st.integers(1, 10**30))
@example({**ProcessIdentity.current().fields(), "token": "x", "uri": URI, "pid": float("inf")}, 1)
@example({**ProcessIdentity.current().fields(), "token": "x", "uri": URI, "pid": 10**300}, 1)
@example({**ProcessIdentity.current().fields(), "token": "x", "uri": URI, "pid": -1}, 1)
@example({**ProcessIdentity.current().fields(), "token": "x", "uri": URI, "pid": (1 << 64) - 1}, 1)
@example({**ProcessIdentity.current().fields(), "token": "\ud800", "uri": "\ud800\n", "host": "\x1b[2J", "pid": 1}, 1)
def test_no_holder_of_a_lease_is_waited_for_longer_than_its_time(fields: object, epoch: int) -> None:
    said: list[str] = []
    with place() as target:
        (target / ".downloading").mkdir()
        (target / f".downloading/lease.{epoch}").write_text(json.dumps(fields))
        clock = Clock()
        with Volume(target, ttl=60, clock=clock) as volume:
            with volume.lease(URI, sleep=clock.pass_by, waiting=lambda holder, _: said.append(holder)):
                assert clock.now <= 1070
            assert download(volume, FILES) > 0
        assert model(target) == FILES
    assert all(line.isprintable() and len(line) <= 300 for line in said)


@given(HOLDERS)
def test_a_holder_is_read_or_not(fields: dict[str, Any]) -> None:
    holder = parse_lease(json.dumps(fields).encode())
    assert holder is None or str(holder).isprintable()
    assert holder is None or holder.process.is_gone() in (True, False)


LINES = st.one_of(
    st.builds("{}  {}".format, st.sampled_from([sha256(data) for data in FILES.values()]), TEXT),
    st.builds(
        "# {}: {}".format,
        st.sampled_from(["source", "revision", "origin", "version", "files", "records", "seal", "proof"]),
        TEXT,
    ),
    TEXT,
)


@SLOW
@given(st.lists(LINES, max_size=6).map("\n".join), st.booleans())
def test_no_list_of_checksums_misleads_a_run(text: str, ended: bool) -> None:  # noqa: FBT001
    raw = (text + "\n" * ended).encode(errors="surrogatepass")
    with place() as target:
        (target / MARKER).write_bytes(raw)
        with Volume(target) as volume, suppress(DownloadError):
            volume.verify()
        brought(target)


@pytest.mark.parametrize("line", ["../outside", "/etc/passwd", "config.json/../../outside", "a\0b", "\ud800"])
def test_verify_says_in_one_line_that_a_list_cannot_be_believed(line: str, tmp_path: Path) -> None:
    (tmp_path / MARKER).write_bytes(f"{sha256(b'{}')}  {line}\n".encode(errors="surrogatepass"))
    result = run("verify", tmp_path)
    assert result.status == 65, result.stderr
    assert result.last_line.isprintable()
    assert "Traceback" not in result.stderr
    assert sorted(content(tmp_path)) == [MARKER]


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 1 << 20])
def test_a_line_is_read_wherever_a_piece_ends(size: int, tmp_path: Path) -> None:
    lines = [["a" * (size % 60_000)], ["b"]] * (1 + size // 60_000)
    (tmp_path / "lines").write_bytes(b"x" * (size // 3) + b"\n" + b"".join(map(record_line, lines)))
    disk = Disk(tmp_path)
    handle = disk.open("lines")
    assert list(read(disk, handle)) == lines == list(decode((tmp_path / "lines").read_bytes()))
    disk.close(handle)


def deep(path: Path, depth: int = 1500) -> None:
    """Make folders in folders, deeper than a path may be long."""
    path.mkdir(parents=True)
    handle = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)


@pytest.mark.slow
@pytest.mark.parametrize("path", [".downloading/parts.x", ".downloading/parts.x/y", ".downloading/junk", "lost"])
def test_folders_without_end_end_no_run(path: str, tmp_path: Path) -> None:
    deep(tmp_path / path)
    with Volume(tmp_path, ttl=1) as volume:
        download(volume, FILES)
        assert volume.inventory(MANIFEST).published
        assert volume.verify().damaged == ()
    for file, data in FILES.items():
        assert (tmp_path / file).read_bytes() == data
    assert sorted(found.name for found in tmp_path.iterdir() if found.name != "lost") == sorted(
        [MARKER, "config.json", "folder"]
    )
    clear(Disk(tmp_path), "lost")  # it is not ours, but pytest could not remove it


def test_a_folder_in_the_place_of_the_last_list_ends_no_run() -> None:
    with place() as target:
        with Volume(target) as volume:
            download(volume, FILES)
        (target / PREVIOUS / "x").mkdir(parents=True)
        (target / "config.json").unlink()
        brought(target)


def test_a_foreign_folder_in_the_place_of_the_list_is_kept(tmp_path: Path) -> None:
    (tmp_path / MARKER).mkdir()
    (tmp_path / MARKER / "notes.txt").write_bytes(PRECIOUS)
    with Volume(tmp_path) as volume, pytest.raises(VolumeError, match="is a folder with something in it"):
        download(volume, FILES)
    assert content(tmp_path) == {f"{MARKER}/notes.txt": PRECIOUS}
    (tmp_path / MARKER / "notes.txt").unlink()
    brought(tmp_path)


def test_a_commit_log_without_an_end_of_a_line_is_ignored(tmp_path: Path) -> None:
    entry = ["file", "a", 1, "b", "c", 2, 3, "d"]
    (tmp_path / ".downloading").mkdir()
    with (tmp_path / COMMIT_LOG).open("wb") as file:
        file.truncate(60 << 20)
        file.seek(0, 2)
        file.write(b"\n" + record_line(entry))
    assert list(read_commit_log(Disk(tmp_path), ["a"])) == ["a"]
