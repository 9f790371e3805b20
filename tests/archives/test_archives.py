"""Archives that are unpacked onto a volume: friendly ones, hostile ones, damaged ones, interrupted ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downloader.archives import ArchiveUnpacker, Entry
from downloader.archives.unpack import FILES_AT_ONCE
from downloader.archives.validation import ALWAYS_ALLOWED, MAX_ENTRIES, validate
from downloader.artifact import Algorithm, Digest, Manifest, RemoteFile, Validator
from downloader.errors import (
    Cancelled,
    ConfigurationError,
    DownloadError,
    IntegrityError,
    NoSpace,
    SourceNotFound,
    VolumeError,
)
from downloader.filesystem.interface import Kind
from downloader.filesystem.local import Disk
from downloader.volume import FileState, VerifiedFile, Volume
from tests.command import content, model
from tests.volume.artifacts import download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from downloader.filesystem.interface import FileOperations, Space

FILES = {
    "config.json": b"{}",
    "empty": b"",
    "weights/model.bin": os.urandom(5 << 20),
    "weights/deep/er/vocabulary.txt": b"word\n" * 1000,
}
SECRET = b"what no run may touch"


def tar(files: Mapping[str, bytes], *, mode: str = "w", prefix: str = "") -> bytes:
    return members(*((tarfile.TarInfo(prefix + path), data) for path, data in files.items()), mode=mode)


def members(*entries: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for member, data in entries:
            member.size = member.size or len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zipped(files: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            info = zipfile.ZipInfo(path)
            info.external_attr = (modes or {}).get(path, 0o100644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def manifest_of(name: str, data: bytes, *, verified: bool = True) -> Manifest:
    digests = (Digest(Algorithm.SHA256, hashlib.sha256(data).hexdigest()),) if verified else ()
    return Manifest(f"https://host/{name}", (RemoteFile(name, len(data), digests, validator=Validator('"tag"')),))


class UnpackingSink:
    """A folder that an archive goes to. `bring` does what a run does; it returns whether there was anything to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "target"
        self.folder.mkdir()
        self.outside = folder / "outside.txt"
        self.outside.write_bytes(SECRET)

    def bring(
        self,
        name: str,
        data: bytes,
        *,
        check: Callable[[], None] = lambda: None,
        files: FileOperations | None = None,
        verified: bool = True,
    ) -> bool:
        manifest = manifest_of(name, data, verified=verified)
        (archive,) = manifest.files
        sha256 = hashlib.sha256(data).hexdigest()
        unpacker = ArchiveUnpacker()
        with Volume(self.folder, files=files, ttl=60) as volume:
            if unpacker.inventory(volume, manifest).published:
                return False
            with volume.lease(manifest.uri):
                (entry,) = unpacker.inventory(volume, manifest).entries
                if entry.state is not FileState.VERIFIED:
                    partial = volume.partial(archive)
                    partial.write(0, memoryview(data))
                    for span in partial.missing():
                        partial.complete(span)
                    volume.commit([VerifiedFile(partial.finish(), sha256, "")])
                volume.publish(*unpacker.finalize(volume, manifest, {name: sha256}, check))
        return True

    def bring_packed(self, name: str, data: bytes) -> None:
        with Volume(self.folder) as volume:
            download(volume, {name: data}, manifest=manifest_of(name, data))

    def state(self, name: str, data: bytes) -> tuple[bool, str]:
        with Volume(self.folder, ttl=60) as volume:
            inventory = ArchiveUnpacker().inventory(volume, manifest_of(name, data))
        return inventory.published, inventory.entries[0].state.value


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[UnpackingSink]:
    sink = UnpackingSink(tmp_path)
    yield sink
    assert sink.outside.read_bytes() == SECRET
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside.txt", "target"]


FRIENDLY = {
    "model.tar": tar(FILES),
    "model.tar.gz": tar(FILES, mode="w:gz"),
    "model.tgz": tar(FILES, mode="w:gz", prefix="./"),
    "MODEL.TGZ": tar(FILES, mode="w:gz", prefix=".//"),
    "gzipped all the same.tar": tar(FILES, mode="w:gz"),
    "in two gzip members.tar.gz": gzip.compress(tar(FILES)[:5000]) + gzip.compress(tar(FILES)[5000:]),
    "below/a/prefix.zip": zipped(FILES),
    "model.zip": zipped({"weights/": b"", **FILES}),
}


@pytest.mark.parametrize("name", FRIENDLY)
def test_an_archive_becomes_its_files_and_nothing_else_is_left(sink: UnpackingSink, name: str) -> None:
    sink.bring(name, FRIENDLY[name])
    assert model(sink.folder) == FILES
    assert not (sink.folder / ".downloading").exists()
    subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=sink.folder, check=True)


@pytest.mark.parametrize("name", ["model.tar.gz", "model.zip"])
def test_a_second_run_has_nothing_to_do(sink: UnpackingSink, name: str) -> None:
    sink.bring(name, FRIENDLY[name])
    before = {path: path.stat().st_mtime_ns for path in sink.folder.rglob("*")}
    assert sink.bring(name, FRIENDLY[name]) is False
    assert {path: path.stat().st_mtime_ns for path in sink.folder.rglob("*")} == before


@pytest.mark.parametrize("harm", ["remove", "truncate", "rewrite", "forget the list", "shorten the list"])
def test_what_was_harmed_since_is_brought_again(sink: UnpackingSink, harm: str) -> None:
    data = FRIENDLY["model.tgz"]
    sink.bring("model.tgz", data)
    victim, marker = sink.folder / "weights/model.bin", sink.folder / ".artifact.sha256"
    if harm == "remove":
        victim.unlink()
    elif harm == "truncate":
        os.truncate(victim, 100)
    elif harm == "rewrite":
        victim.write_bytes(bytes(len(FILES["weights/model.bin"])))
    elif harm == "forget the list":
        marker.unlink()
    else:
        marker.write_text("".join(marker.read_text().splitlines(keepends=True)[:-1]))
    assert sink.state("model.tgz", data) == (False, "missing")
    assert sink.bring("model.tgz", data) is True
    assert model(sink.folder) == FILES


def test_another_archive_of_the_same_name_is_brought(sink: UnpackingSink) -> None:
    sink.bring("model.zip", FRIENDLY["model.zip"])
    newer = zipped({**FILES, "config.json": b'{"newer": true}'})
    assert sink.bring("model.zip", newer) is True
    assert (sink.folder / "config.json").read_bytes() == b'{"newer": true}'


def test_an_archive_that_was_left_beside_its_contents_goes_away(sink: UnpackingSink) -> None:
    sink.bring("model.tgz", FRIENDLY["model.tgz"])
    (sink.folder / "model.tgz").write_bytes(FRIENDLY["model.tgz"])
    assert sink.bring("model.tgz", FRIENDLY["model.tgz"]) is True
    assert model(sink.folder) == FILES
    assert sink.bring("model.tgz", FRIENDLY["model.tgz"]) is False


def test_an_archive_that_another_command_left_packed_is_unpacked_and_not_listed_any_more(sink: UnpackingSink) -> None:
    data = FRIENDLY["model.tgz"]
    sink.bring_packed("model.tgz", data)
    assert sink.bring("model.tgz", data) is True
    assert model(sink.folder) == FILES
    with Volume(sink.folder) as volume:
        assert volume.verify().damaged == ()
    assert sink.bring("model.tgz", data) is False


def test_contents_that_would_replace_those_of_another_archive_are_refused(sink: UnpackingSink) -> None:
    assert sink.bring("first.tar", tar({"config.json": b"1", "a": b"a"}))
    for config in (b"2", b"22"):
        with pytest.raises(
            VolumeError, match=r"holds https://host/first\.tar, and .* would replace 1 file of it: config"
        ):
            sink.bring("second.tar", tar({"config.json": config, "b": b"b"}))
    assert model(sink.folder).items() >= {"config.json": b"1", "a": b"a"}.items()
    assert sink.bring("third.tar", tar({"c": b"c"}))


def test_a_list_of_something_else_is_passed_over(sink: UnpackingSink) -> None:
    (sink.folder / ".artifact.sha256").write_text(f"{'0' * 64}  .artifact.sha256\n")
    assert sink.bring("model.tgz", FRIENDLY["model.tgz"]) is True
    assert model(sink.folder) == FILES


def test_what_else_is_in_the_folder_stays(sink: UnpackingSink) -> None:
    (sink.folder / "weights").mkdir()
    (sink.folder / "weights/mine.txt").write_bytes(b"mine")
    sink.bring("model.tar", FRIENDLY["model.tar"])
    assert model(sink.folder) == {**FILES, "weights/mine.txt": b"mine"}


def test_folders_in_folders_are_no_problem(sink: UnpackingSink) -> None:
    folders = [(member(name, tarfile.DIRTYPE), b"") for name in ("x", "x/y", "x/y/z", "x/empty")]
    sink.bring("model.tar", members(*folders, (member("x/y/z/config.json"), b"{}")))
    assert model(sink.folder) == {"x/y/z/config.json": b"{}"}


def test_links_within_the_archive_become_copies(sink: UnpackingSink) -> None:
    data = members(
        (member("early", tarfile.SYMTYPE, "weights/model.bin"), b""),
        *((member(path), data) for path, data in FILES.items()),
        (member("weights/deep/up", tarfile.SYMTYPE, "../../config.json"), b""),
        (member("weights/up again", tarfile.SYMTYPE, "deep/up"), b""),
        (member("hard", tarfile.LNKTYPE, "weights/model.bin"), b""),
    )
    sink.bring("model.tar", data)
    copies = {
        "early": FILES["weights/model.bin"],
        "hard": FILES["weights/model.bin"],
        "weights/deep/up": FILES["config.json"],
        "weights/up again": FILES["config.json"],
    }
    assert model(sink.folder) == {**FILES, **copies}
    assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in sink.folder.rglob("*") if path.is_file())


def test_a_symlink_in_a_zip_becomes_a_copy(sink: UnpackingSink) -> None:
    sink.bring("model.zip", zipped({"a": b"bytes", "b": b"a"}, {"b": 0o120777}))
    assert model(sink.folder) == {"a": b"bytes", "b": b"bytes"}


def test_an_archive_may_hold_a_file_of_its_own_name(sink: UnpackingSink) -> None:
    sink.bring("model.tar", data := tar({"model.tar": b"not an archive"}))
    assert model(sink.folder) == {"model.tar": b"not an archive"}
    assert sink.bring("model.tar", data) is False


def test_a_checksum_list_in_the_archive_is_replaced(sink: UnpackingSink) -> None:
    sink.bring("model.tar", tar({**FILES, ".artifact.sha256": b"0" * 64 + b"  elsewhere\n"}))
    assert model(sink.folder) == FILES
    assert b"elsewhere" not in (sink.folder / ".artifact.sha256").read_bytes()


def patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Return a zip with a field of each header of one kind overwritten."""
    found, patched = -1, bytearray(data)
    while (found := data.find(signature, found + 1)) != -1:
        patched[found + offset : found + offset + len(value)] = value
    return bytes(patched)


def claiming(size: int) -> bytes:
    """Return a tar whose one member claims so many bytes."""
    info = tarfile.TarInfo("huge.bin")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


REFUSED = {
    "a name leads up": tar({"ok": b"", "../outside.txt": b"evil"}),
    "a name leads up half-way": tar({"a/../../outside.txt": b"evil"}),
    "a name is absolute": tar({"/etc/evil": b"evil"}),
    "a name has a line break": tar({"a\nb": b""}),
    "a name is too long": tar({"a" * 256: b""}),
    "a name is ours": tar({".downloading/lease.1": b"evil"}),
    "a name is there twice": tar({"a": b"1"})[:1024] + tar({"a": b"2"}),
    "a name is there twice, spelled differently": tar({"a": b"1", "./a": b"2"}),
    "a file is also a folder with files": tar({"a": b"", "a/b": b""}),
    "a file is also an empty folder": members((member("a"), b""), (member("a/", tarfile.DIRTYPE), b"")),
    "a symlink is absolute": members((member("passwd", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "a symlink leads out": members((member("a", tarfile.SYMTYPE, "../outside.txt"), b"")),
    "a symlink leads out half-way": members((member("a/b", tarfile.SYMTYPE, "../c/../../outside.txt"), b"")),
    "a file goes through a symlink": members((member("a", tarfile.SYMTYPE, "."), b""), (member("a/evil"), b"evil")),
    "a symlink means a folder": members((member("b/c"), b""), (member("a", tarfile.SYMTYPE, "b"), b"")),
    "a symlink means nothing": members((member("a", tarfile.SYMTYPE, "b"), b"")),
    "symlinks mean each other": members(
        (member("a", tarfile.SYMTYPE, "b"), b""), (member("b", tarfile.SYMTYPE, "a"), b"")
    ),
    "a hard link leads out": members((member("a", tarfile.LNKTYPE, "../outside.txt"), b"")),
    "a hard link is absolute": members((member("a", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    "there is a character device": members((member("null", tarfile.CHRTYPE), b"")),
    "there is a block device": members((member("sda", tarfile.BLKTYPE), b"")),
    "there is a fifo": members((member("pipe", tarfile.FIFOTYPE), b"")),
    "it is a bomb": claiming(ALWAYS_ALLOWED + 1),
    "a name in a zip leads up": zipped({"../outside.txt": b"evil"}),
    "a name in a zip is absolute": zipped({"/etc/evil": b"evil"}),
    "a symlink in a zip leads out": zipped({"a": b"../outside.txt"}, {"a": 0o120777}),
    "a symlink in a zip leads out to what is also in it": zipped({"a": b"", "b": b"../a"}, {"b": 0o120777}),
    "there is a device in a zip": zipped({"null": b""}, {"null": 0o020666}),
    "there is a fifo in a zip": zipped({"pipe": b""}, {"pipe": 0o010644}),
    "a zip is a bomb": patched(zipped({"a": b""}), b"PK\1\2", 24, struct.pack("<I", ALWAYS_ALLOWED + 1)),
}


def suffix(data: bytes) -> str:
    return ".zip" if data.startswith(b"PK") else ".tar"


@pytest.mark.parametrize("sentence", REFUSED)
def test_an_archive_is_refused_as_a_whole_where(sink: UnpackingSink, sentence: str) -> None:
    data = REFUSED[sentence]
    (sink.folder / "mine.txt").write_bytes(b"mine")
    with pytest.raises(ConfigurationError) as caught:
        sink.bring("model" + suffix(data), data)
    assert caught.value.exit_status == 78
    assert "is refused" in caught.value.message
    assert sorted(model(sink.folder)) == [".downloading/ledger", "mine.txt", "model" + suffix(data)]


def test_an_archive_with_too_many_entries_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="entries"):
        validate((Entry(str(number), Kind.FILE) for number in range(MAX_ENTRIES + 1)), 1 << 30, "model.tar")


def test_links_count_towards_what_an_archive_may_unpack_to() -> None:
    entries = [Entry("a", Kind.FILE, ALWAYS_ALLOWED // 2)]
    entries += [Entry(str(number), Kind.SYMLINK, link="a") for number in range(2)]
    with pytest.raises(ConfigurationError, match="bomb"):
        validate(entries, 1000, "model.tar")


def test_a_large_archive_may_unpack_to_more() -> None:
    assert validate([Entry("a", Kind.FILE, 50 << 30)], 1 << 30, "model.tar").files == {"a": 50 << 30}


def many_entries() -> bytes:
    """Return a zip that lists its only file 200,000 times."""
    data = zipped({"a": b""})
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    directory = data[start:end] * 200_000
    return data[:start] + directory + data[end : end + 12] + struct.pack("<I", len(directory)) + data[end + 16 :]


def long_directory() -> bytes:
    """Return a zip that claims to have a list of 65 MiB."""
    return bytes(65 << 20) + patched(zipped({"a": b""}), b"PK\5\6", 12, struct.pack("<I", 65 << 20))


@pytest.mark.parametrize("make", [many_entries, long_directory])
def test_a_directory_of_any_length_takes_little_memory(sink: UnpackingSink, make: Callable[[], bytes]) -> None:
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError, match="is refused"):
            sink.bring("model.zip", data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


def pax(**fields: bytes) -> bytes:
    """Return a header of extended attributes, each with its length."""
    records = b""
    for name, value in fields.items():
        rest = b" %s=%s\n" % (name.replace("__", ".").encode(), value)
        records += b"%d" % (len(rest) + len(str(len(rest) + len(str(len(rest)))))) + rest
    return block("pax", tarfile.XHDTYPE, records)


def block(name: str, kind: bytes, data: bytes = b"", size: int | None = None) -> bytes:
    """Return one member of a tar as it lies there, also one that no library would write."""
    info = member(name, kind)
    info.size = len(data) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


ALMOST = (1 << 20) - 2000
SPARSE = pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__name=b"s", GNU__sparse__realsize=b"10")
OLD_SPARSE = bytearray(block("s", tarfile.GNUTYPE_SPARSE))
OLD_SPARSE[482] = 1  # the map goes on in the next block
OLD_SPARSE[148:156] = b" " * 8
OLD_SPARSE[148:156] = b"%06o\0 " % sum(OLD_SPARSE)
MAP = b"00000001000\0" * 42 + b"\1" + bytes(7)

HUNGRY = {
    "names of a megabyte": lambda: [
        block("././@LongLink", tarfile.GNUTYPE_LONGNAME, b"a" * ALMOST + b"%d\0" % number) + block("x", tarfile.REGTYPE)
        for number in range(64)
    ],
    "attributes of a megabyte": lambda: [
        pax(comment=b"c" * ALMOST) + block(f"f{number}", tarfile.REGTYPE) for number in range(64)
    ],
    "global attributes without end": lambda: [
        pax(**{f"comment{number}": b"c" * (ALMOST // 16)}).replace(b"x\0ustar", b"g\0ustar", 1)
        for number in range(64)
    ],
    "a map of a sparse file without end": lambda: [
        SPARSE, block("s", tarfile.REGTYPE, b"99999999999\n" + b"1\n" * 250, 512), b"1\n" * (1 << 20)
    ],
    "a map of an old sparse file without end": lambda: [bytes(OLD_SPARSE), MAP * (1 << 16)],
    "a jump over packed zeros": lambda: [SPARSE, block("s", tarfile.REGTYPE, b"", 1 << 42)],
    "a list of checksums of terabytes": lambda: [block(".artifact.sha256", tarfile.REGTYPE, b"", 1 << 42)],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("sentence", HUNGRY)
def test_headers_take_little_memory_however_many_and_long_they_are(sink: UnpackingSink, sentence: str) -> None:
    data = gzip.compress(b"".join(HUNGRY[sentence]()) + bytes(1024), 1)
    tracemalloc.start()
    try:
        with suppress(DownloadError):
            sink.bring("model.tgz", data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20


def test_names_without_end_are_refused() -> None:
    entries = (Entry(f"{number}" + "a" * 4000, Kind.SYMLINK, link="b" * 4000) for number in range(MAX_ENTRIES))
    with pytest.raises(ConfigurationError, match="names without end"):
        validate(entries, 1 << 30, "model.tar")


def test_a_sparse_file_is_unpacked_with_its_holes(sink: UnpackingSink) -> None:
    file = pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__name=b"s", GNU__sparse__realsize=b"2000")
    data = b"1\n1000\n3\n".ljust(512, b"\0") + b"abc"
    sink.bring("model.tar", file + block("s", tarfile.REGTYPE, data) + bytes(1024))
    assert model(sink.folder) == {"s": bytes(1000) + b"abc" + bytes(997)}


@pytest.mark.parametrize("method", [14, 93], ids=["lzma", "zstd"])
def test_a_zip_that_chooses_how_much_memory_unpacking_takes_is_refused(sink: UnpackingSink, method: int) -> None:
    data = patched(zipped({"a": b"123"}), b"PK\1\2", 10, struct.pack("<H", method))
    with pytest.raises(ConfigurationError, match="as much memory"):
        sink.bring("model.zip", data)


@pytest.mark.parametrize("data", [tar({}), zipped({}), zipped({"folder/": b""}), tar({".artifact.sha256": b""})])
def test_an_archive_without_files_is_no_artifact(sink: UnpackingSink, data: bytes) -> None:
    with pytest.raises(SourceNotFound):
        sink.bring("model" + suffix(data), data)


def in_the_middle(data: bytes) -> bytes:
    return data[: len(data) // 2]


HEADERS = tar({"a": b"1", "b": b"2"})
PAX = tarfile.TarInfo("x")
PAX.type, PAX.size = tarfile.XHDTYPE, 8 << 30
NEGATIVE = bytearray(tarfile.TarInfo("x").tobuf())
NEGATIVE[124:136] = b"\xff" * 11 + b"\xf0"
NEGATIVE[148:156] = b"%06o\0 " % (sum(NEGATIVE[:148]) + 8 * 32 + sum(NEGATIVE[156:512]))

DAMAGED = {
    "a tar ends in the middle": ("a.tar", in_the_middle(FRIENDLY["model.tar"])),
    "a tar ends before its end mark": ("a.tar", HEADERS[:2048]),
    "a tar has a damaged header, at which Python would end silently": (
        "a.tar",
        HEADERS[:1030] + b"?" + HEADERS[1031:],
    ),
    "a tar has an extension of 8 GiB": ("a.tar", PAX.tobuf(tarfile.GNU_FORMAT) + bytes(1024)),
    "a tar has a size below nothing": ("a.tar", bytes(NEGATIVE) + bytes(1024)),
    "a gzipped tar ends in the middle": ("a.tgz", in_the_middle(FRIENDLY["model.tgz"])),
    "a gzipped tar ends before its checksum": ("a.tgz", FRIENDLY["model.tgz"][:-8]),
    "a gzipped tar has a wrong checksum": ("a.tgz", FRIENDLY["model.tgz"][:-8] + b"12345678"),
    "a zip ends in the middle": ("a.zip", in_the_middle(FRIENDLY["model.zip"])),
    "a zip has a wrong checksum": ("a.zip", patched(zipped(FILES), b"PK\1\2", 16, b"1234")),
    "a zip has a file that is shorter than it says": ("a.zip", patched(zipped({"a": b"123"}), b"PK\1\2", 24, b"\x64")),
    "a zip is encrypted": ("a.zip", patched(zipped(FILES), b"PK\1\2", 8, b"\1\0")),
    "a zip is packed in an unknown way": ("a.zip", patched(zipped(FILES), b"PK\1\2", 10, b"\x62\0")),
    "it is something else": ("a.tar.gz", b"<html>log in</html>" * 100),
    "it is empty": ("a.tar", b""),
    "it is an empty zip": ("a.zip", b""),
    "it is a zip by name only": ("a.zip", FRIENDLY["model.tar"]),
}


@pytest.mark.parametrize("sentence", DAMAGED)
def test_an_archive_cannot_be_unpacked_when(sink: UnpackingSink, sentence: str) -> None:
    name, data = DAMAGED[sentence]
    with pytest.raises(IntegrityError) as caught:
        sink.bring(name, data)
    assert f"the archive {name} cannot be unpacked" in caught.value.message
    assert not (sink.folder / ".artifact.sha256").exists()
    assert (sink.folder / name).exists()


def test_a_damaged_archive_is_fetched_again_if_nothing_but_its_size_spoke_for_it(sink: UnpackingSink) -> None:
    with pytest.raises(IntegrityError):
        sink.bring("a.tgz", in_the_middle(FRIENDLY["model.tgz"]), verified=False)
    assert not (sink.folder / "a.tgz").exists()


SMALL = {
    "a.tar": tar({"a": b"123", "b/c": b"4" * 600}),
    "a.tgz": tar({"a": b"123", "b/c": b"4" * 600}, mode="w:gz"),
    "a.zip": zipped({"a": b"123", "b/c": b"4" * 600}),
}


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(SMALL)), place=st.floats(0, 1), change=st.binary(max_size=24), cut=st.booleans())
def test_whatever_is_wrong_with_an_archive_the_error_is_ours_and_nothing_gets_out(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    place: float,
    change: bytes,
    cut: bool,  # noqa: FBT001
) -> None:
    data = SMALL[name]
    position = int(place * len(data))
    broken = data[:position] + change + (b"" if cut else data[position + len(change) :])
    folder = tmp_path_factory.mktemp("archive")
    sink = UnpackingSink(folder)
    try:
        sink.bring(name, broken)
    except DownloadError:
        assert not (sink.folder / ".artifact.sha256").exists()
    else:
        subprocess.run(["sha256sum", "-c", "--quiet", ".artifact.sha256"], cwd=sink.folder, check=True)
    assert sorted(content(folder).keys() - {f"target/{path}" for path in content(sink.folder)}) == ["outside.txt"]
    assert sink.outside.read_bytes() == SECRET


class SmallDisk(Disk):
    """A real disk with little room."""

    def space(self) -> Space:
        return super().space()._replace(free_bytes=4 << 20)


def test_contents_that_have_no_room_are_not_begun(sink: UnpackingSink) -> None:
    data = tar({"a": bytes(8 << 20)}, mode="w:gz")
    with pytest.raises(NoSpace):
        sink.bring("model.tgz", data, files=SmallDisk(sink.folder))
    assert sorted(model(sink.folder)) == [".downloading/ledger", "model.tgz"]


def cancelled_after(checks: int) -> Callable[[], None]:
    """Return a check that ends the run when it has been asked so often."""
    left = iter(range(checks))

    def check() -> None:
        if next(left, None) is None:
            raise Cancelled

    return check


def test_an_unpacking_that_was_ended_is_done_again_and_believes_nothing_that_lies_there(sink: UnpackingSink) -> None:
    files = {f"part-{number:03}": bytes([number]) * 10 for number in range(2 * FILES_AT_ONCE)}
    data = tar(files)
    with pytest.raises(Cancelled):
        sink.bring("model.tar", data, check=cancelled_after(FILES_AT_ONCE + 30))
    landed = list(sink.folder.glob("part-*"))
    assert len(landed) == FILES_AT_ONCE
    before = landed[0].stat()
    landed[0].write_bytes(b"E" * 10)
    os.utime(landed[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    sink.bring("model.tar", data)
    assert model(sink.folder) == files


@pytest.mark.parametrize("checks", range(0, 15, 2))
def test_whenever_it_is_ended_the_next_run_completes_it(sink: UnpackingSink, checks: int) -> None:
    with pytest.raises(Cancelled):
        sink.bring("model.tgz", FRIENDLY["model.tgz"], check=cancelled_after(checks))
    sink.bring("model.tgz", FRIENDLY["model.tgz"])
    assert model(sink.folder) == FILES
