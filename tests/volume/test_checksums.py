"""The checksum file: what sha256sum reads, and nothing that a stranger wrote into it is trusted."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.artifact import Manifest, RemoteFile
from downloader.errors import IntegrityError, VolumeError
from downloader.volume import Volume, checksums
from downloader.volume.checksums import MARKER, fingerprint, parse, render
from tests.volume.artifacts import bring, download, manifest_of, remote, sha256

if TYPE_CHECKING:
    from pathlib import Path

DATE = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
DIGEST = "0123456789abcdef" * 4
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
STRANGE = ["a b", " leading", "trailing ", "back\\slash", "ünï", "*star", "-dash", "\u3000wide", "#hash", "a\\nb"]


def test_it_says_where_the_files_come_from_and_lists_them_sorted() -> None:
    files = {"b": b"b", "a/x": b"x", "a.txt": b"t"}
    manifest = manifest_of(files)
    digests = digests_of(files)
    text = render(manifest, digests, DATE, {}).decode()
    assert text.splitlines() == [
        "# source: hf://org/model",
        "# revision: c0ffee",
        "# date: 2026-02-03T04:05:06Z",
        f"# fingerprint: {fingerprint(manifest, digests)}",
        f"{sha256(b't')}  a.txt",
        f"{sha256(b'x')}  a/x",
        f"{sha256(b'b')}  b",
    ]


def test_sha256sum_checks_every_name_that_a_file_can_have(tmp_path: Path) -> None:
    files = {name: name.encode() for name in STRANGE} | {f"folder/{name}": b"" for name in STRANGE}
    with Volume(tmp_path) as volume:
        download(volume, files)
        assert volume.survey(manifest_of(files)).published
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", MARKER], cwd=tmp_path, check=True)


@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=5), max_size=8))
def test_what_is_written_is_read(files: dict[str, bytes]) -> None:
    folders = {path[:place] for path in files for place, letter in enumerate(path) if letter == "/"}
    files = {path: data for path, data in files.items() if path not in folders}
    manifest = manifest_of(files, uri="s3://bucket/key\nwith a line")
    digests = digests_of(files)
    found = parse(render(manifest, digests, DATE, {}))
    assert found.files == digests
    assert (found.source, found.revision) == (r"s3://bucket/key\nwith a line", "c0ffee")
    assert found.fingerprint == fingerprint(manifest, digests)
    assert found.covers(manifest)


PROOFS = ["sha256", "crc64nvme", "etag", "size only", "etag unverifiable", ""]


@given(st.dictionaries(NAMES, st.sampled_from(PROOFS), min_size=1, max_size=8))
def test_what_proved_each_file_is_written_and_read(proofs: dict[str, str]) -> None:
    files = dict.fromkeys(proofs, b"")
    found = parse(render(manifest_of(files), digests_of(files), DATE, proofs))
    assert found.files == digests_of(files)
    assert {path: found.proof_of(path) for path in files} == {
        path: proof or "unknown" for path, proof in proofs.items()
    }


def test_what_proves_most_files_is_written_once(tmp_path: Path) -> None:
    files = {f"{number}": b"" for number in range(10)} | {"back\\slash": b"", "odd": b""}
    proofs = dict.fromkeys(files, "sha256") | {"back\\slash": "etag", "odd": "size only"}
    text = render(manifest_of(files), digests_of(files), DATE, proofs).decode()
    assert [line for line in text.splitlines() if line.startswith("# proof")] == [
        "# proof: sha256",
        "# proof: etag  back\\\\slash",
        "# proof: size only  odd",
    ]
    for path in files:
        (tmp_path / path).touch()
    (tmp_path / MARKER).write_text(text)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", MARKER], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    "comment", ["proof: ", "proof: UPPER", f"proof: {'x' * 99}", "proof: etag  bad\\escape", "proof"]
)
def test_comments_of_others_are_no_reason_to_refuse_a_list(comment: str) -> None:
    found = parse(f"# {comment}\n{DIGEST}  a\n# proof: etag  a\n".encode())
    assert found.proof_of("a") == "unknown"


def digests_of(files: dict[str, bytes]) -> dict[str, str]:
    return {path: sha256(data) for path, data in files.items()}


HOSTILE = {
    "leaves the folder": "../a",
    "leaves it later": "a/../../b",
    "absolute": "/etc/passwd",
    "stays in place": "a/./b",
    "empty part": "a//b",
    "ends as a folder": "a/",
    "control character": "a\x07b",
    "null": "a\0b",
    "too long": "a" * 5000,
}


@pytest.mark.parametrize("path", HOSTILE.values(), ids=HOSTILE.keys())
def test_paths_that_no_file_of_ours_can_have_are_refused(path: str) -> None:
    with pytest.raises(IntegrityError, match="line 2"):
        parse(f"# comment\n{DIGEST}  {path}\n".encode())


@pytest.mark.parametrize(
    "text",
    [
        f"{DIGEST}  a\n{DIGEST}  a\n",
        f"{DIGEST}  a\n{DIGEST}  ./a\n",
        f"{DIGEST}  a\n{DIGEST}  a/b\n",
        f"{DIGEST}  a/b/c\n{DIGEST}  a\n",
        f"{DIGEST[1:]}  a\n",
        f"{DIGEST.upper()}  a\n",
        f"{DIGEST} a\n",
        f"{DIGEST}  \n",
        f"\\{DIGEST}  a\\tb\n",
        f"\\{DIGEST}  a\\nb\n",
        f"\\{DIGEST}  a\\\n",
        "<html>",
        "{}",
    ],
)
def test_whatever_is_no_checksum_file_is_refused_as_a_whole(text: str) -> None:
    with pytest.raises(IntegrityError):
        parse(text.encode())


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    for content in (raw, DIGEST.encode() + b"  " + raw, b"\\" + DIGEST.encode() + b"  " + raw):
        try:
            paths = parse(content).files
        except IntegrityError:
            continue
        assert all(part not in ("", ".", "..") for path in paths for part in path.split("/"))


def test_a_file_of_absurd_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "LARGEST", 100)
    with pytest.raises(IntegrityError, match="too long"):
        parse(b"#" * 101)


def test_what_others_write_is_read_too() -> None:
    assert parse(f"{DIGEST} *./binary.bin\n{DIGEST}  plain\n\n".encode()).files == {
        "binary.bin": DIGEST,
        "plain": DIGEST,
    }


def test_comments_after_the_first_checksum_say_nothing() -> None:
    assert parse(f"{DIGEST}  a\n# source: s3://evil/\n".encode()).source == ""


def test_the_fingerprint_changes_with_whatever_the_source_says_of_the_content() -> None:
    contents = [{"a": b"1"}, {"a": b"2"}, {"b": b"1"}, {"a": b"1", "b": b"1"}]
    prints = {
        fingerprint(manifest_of(files, published=published), dict.fromkeys(files, DIGEST))
        for files in contents
        for published in (True, False)
    }
    assert len(prints) == 2 * len(contents)
    moved = manifest_of({"a": b"1"}, uri="s3://elsewhere/")
    assert fingerprint(moved, {"a": DIGEST}) in prints
    assert fingerprint(moved, {"a": DIGEST[::-1]}) not in prints


# A source with a checksum file of its own

FILES = {"a": b"1", "folder/b": b"2"}
OWN = f"# mine, from 2019\n{sha256(b'2')} *folder/b\n{sha256(b'1')}  a\n".encode()


def carrying(own: bytes) -> Manifest:
    return Manifest("s3://bucket/", manifest_of(FILES, published=False).files, checksums=own)


def test_the_sources_own_checksums_are_kept_verbatim(volume: Volume, target: Path) -> None:
    download_under_lease(volume, carrying(OWN))
    assert (target / MARKER).read_bytes() == OWN


@pytest.mark.parametrize(
    "own",
    [
        OWN.replace(b"folder/b", b"folder/c"),
        OWN + f"{DIGEST}  more\n".encode(),
        OWN.splitlines()[0] + b"\n",
        OWN.replace(sha256(b"1").encode(), DIGEST.encode()),
        b"\xff\xfe",
        b"",
    ],
    ids=["another file", "one more", "none", "another digest", "no text", "empty"],
)
def test_checksums_that_do_not_cover_exactly_these_files_are_replaced(volume: Volume, target: Path, own: bytes) -> None:
    download_under_lease(volume, carrying(own))
    found = parse((target / MARKER).read_bytes())
    assert found.files == {path: sha256(data) for path, data in FILES.items()}
    assert found.source == "s3://bucket/"


def download_under_lease(volume: Volume, manifest: Manifest) -> None:
    bring(volume, manifest, FILES)


def test_a_name_that_we_need_ourselves_is_refused(volume: Volume) -> None:
    for path in (MARKER, ".downloading/lease.1", ".downloading"):
        with pytest.raises(VolumeError, match="needs for itself"):
            volume.survey(Manifest("s3://b/", (remote(path, b""),)))
    volume.survey(Manifest("s3://b/", (RemoteFile("folder/.artifact.sha256", 0),)))
