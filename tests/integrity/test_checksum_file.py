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
from downloader.integrity import checksum_file
from downloader.integrity.checksum_file import MARKER, Checksums, Origin, parse_checksums, render_checksums
from downloader.volume import Volume
from tests.volume.artifacts import bring, download, manifest_of, remote, sha256

if TYPE_CHECKING:
    from pathlib import Path

DATE = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
DIGEST = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
STRANGE = ["a b", " leading", "trailing ", "back\\slash", "ünï", "*star", "-dash", "\u3000wide", "#hash", "a\\nb"]


def test_it_says_where_the_files_come_from_and_lists_them_sorted() -> None:
    files = {"b": b"b", "a/x": b"x", "a.txt": b"t"}
    whole = Checksums(digests_of(files), "hf://org/model@main", "c0ffee", origins=(Origin("hf://org/model", "c0ffee"),))
    assert render_checksums(whole, DATE).decode().splitlines() == [
        "# source: hf://org/model@main",
        "# revision: c0ffee",
        "# date: 2026-02-03T04:05:06Z",
        "# files: 3",
        '# origin: ["hf://org/model", "c0ffee"]',
        f"{sha256(b't')}  a.txt",
        f"{sha256(b'x')}  a/x",
        f"{sha256(b'b')}  b",
    ]


def test_sha256sum_checks_every_name_that_a_file_can_have(tmp_path: Path) -> None:
    files = {name: name.encode() for name in STRANGE} | {f"folder/{name}": b"" for name in STRANGE}
    with Volume(tmp_path) as volume:
        download(volume, files)
        assert volume.inventory(manifest_of(files)).published
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", MARKER], cwd=tmp_path, check=True)


@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=5), max_size=8))
def test_what_is_written_is_read(files: dict[str, bytes]) -> None:
    folders = {path[:place] for path in files for place, letter in enumerate(path) if letter == "/"}
    files = {path: data for path, data in files.items() if path not in folders}
    origins = (Origin("s3://bucket/key\nwith a line"), Origin("hf://a", "b"))
    whole = Checksums(digests_of(files), "s3://bucket/key\nwith a line", "c0ffee", origins=origins, version="v")
    found = parse_checksums(render_checksums(whole, DATE))
    assert found.files == whole.files
    assert (found.source, found.revision, found.version) == (r"s3://bucket/key\nwith a line", "c0ffee", "v")
    assert (found.origins, found.counted) == (origins, True)
    assert found.covers(manifest_of(files))


PROOFS = ["sha256", "crc64nvme", "etag", "size only", "etag unverifiable", ""]


@given(st.dictionaries(NAMES, st.sampled_from(PROOFS), min_size=1, max_size=8))
def test_what_proved_each_file_is_written_and_read(proofs: dict[str, str]) -> None:
    files = dict.fromkeys(proofs, b"")
    found = parse_checksums(render_checksums(Checksums(digests_of(files), proofs=proofs), DATE))
    assert found.files == digests_of(files)
    assert {path: found.proof_of(path) for path in files} == {
        path: proof or "unknown" for path, proof in proofs.items()
    }


def test_what_proves_most_files_is_written_once(tmp_path: Path) -> None:
    files = {f"{number}": b"" for number in range(10)} | {"back\\slash": b"", "odd": b""}
    proofs = dict.fromkeys(files, "sha256") | {"back\\slash": "etag", "odd": "size only"}
    text = render_checksums(Checksums(digests_of(files), proofs=proofs), DATE).decode()
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
    found = parse_checksums(f"# {comment}\n{DIGEST}  a\n# proof: etag  a\n".encode())
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
        parse_checksums(f"# comment\n{DIGEST}  {path}\n".encode())


@pytest.mark.parametrize(
    "text",
    [
        f"{DIGEST}  a\n{OTHER}  a\n",
        f"{DIGEST}  a\n{OTHER}  ./a\n",
        f"{DIGEST}  a\n{DIGEST}  a/b\n",
        f"{DIGEST}  a/b/c\n{DIGEST}  a\n",
        f"{DIGEST[1:]}  a\n",
        f"{DIGEST}a\n",
        f"# files: 2\n{DIGEST}  a\n",
        "# files: 1\n",
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
        parse_checksums(text.encode())


def test_a_line_that_comes_again_is_taken_as_sha256sum_takes_it() -> None:
    assert parse_checksums(f"{DIGEST}  a\n{OTHER}  b\n{DIGEST} *./a\n".encode()).files == {"a": DIGEST, "b": OTHER}


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    for content in (raw, DIGEST.encode() + b"  " + raw, b"\\" + DIGEST.encode() + b"  " + raw):
        try:
            paths = parse_checksums(content).files
        except IntegrityError:
            continue
        assert all(part not in ("", ".", "..") for path in paths for part in path.split("/"))


def test_a_file_of_absurd_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum_file, "MAX_LIST_SIZE", 100)
    with pytest.raises(IntegrityError, match="too long"):
        parse_checksums(b"#" * 101)


def test_what_others_write_is_read_too() -> None:
    assert parse_checksums(f"{DIGEST} *./binary.bin\n{DIGEST}  plain\n\n".encode()).files == {
        "binary.bin": DIGEST,
        "plain": DIGEST,
    }


def test_comments_after_the_first_checksum_say_nothing() -> None:
    assert parse_checksums(f"{DIGEST}  a\n# source: s3://evil/\n".encode()).source == ""


SPELLINGS = {
    "as sha256sum writes it": "{h}  a.bin\n",
    "binary": "{h} *a.bin\n",
    "lines of DOS": "{h}  a.bin\r\n",
    "capitals": "{H}  a.bin\n",
    "one space": "{h} a.bin\n",
    "a tab": "{h}\ta.bin\n",
    "space before": "  {h}  a.bin\n",
    "no end": "{h}  a.bin",
    "BSD's tags": "SHA256 (a.bin) = {h}\n",
    "BSD's tags, lines of DOS": "SHA256 (a.bin) = {H}\r\n",
    "openssl": "SHA256(a.bin)= {h}\n",
    "comments and empty lines": "# a\n\n{h}  a.bin\n\n",
    "an escape": "\\{h}  a\\\\b\n",
    "an escape with a tag": "\\SHA256 (a\\\\b) = {h}\n",
    "parentheses": "SHA256 (a) = (b) = {h}\n",
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_a_list_is_read_as_sha256sum_reads_it(text: str, tmp_path: Path) -> None:
    digest = sha256(b"content")
    (tmp_path / "list").write_bytes(text.format(h=digest, H=digest.upper()).encode())
    found = parse_checksums((tmp_path / "list").read_bytes()).files
    assert list(found.values()) == [digest]
    for path in found:
        (tmp_path / path).write_bytes(b"content")
    command = ["sha256sum", "--check", "list"]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).stdout.endswith(b": OK\n")


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_checksums(f"\ufeff{DIGEST}  a\n".encode()).files == {"a": DIGEST}
    assert parse_checksums(f"\ufeff# source: s3://a/\n{DIGEST}  a\n".encode()).source == "s3://a/"


REASONS = {
    f"SHA512 (a) = {DIGEST}{DIGEST}": "has a checksum by SHA512, and only SHA-256 is read",
    f"{DIGEST[:32]}  a": "has a checksum by MD5",
    f"{DIGEST[:40]} *a": "has a checksum by SHA-1",
    f"{DIGEST}{DIGEST}  a": "has a checksum by SHA-512",
    "<html>": "is not a checksum",
}


@pytest.mark.parametrize(("line", "reason"), REASONS.items())
def test_what_is_wrong_with_a_list_is_said_with_its_name(line: str, reason: str) -> None:
    with pytest.raises(IntegrityError, match=f"line 2 of https://host/SUMS {reason}"):
        parse_checksums(f"{DIGEST}  x\n{line}\n".encode(), "https://host/SUMS")
    with pytest.raises(IntegrityError, match="https://host/SUMS is not UTF-8 but UTF-16"):
        parse_checksums(f"\ufeff{DIGEST}  ä\n".encode("utf-16-le"), "https://host/SUMS")


def test_a_list_that_was_cut_off_between_two_lines_is_refused(volume: Volume, target: Path) -> None:
    bring(volume, manifest_of(FILES), FILES)
    lines = (target / MARKER).read_bytes().splitlines(keepends=True)
    with pytest.raises(IntegrityError, match="lists 1 file and says that it has 2"):
        parse_checksums(b"".join(lines[:-1]))


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
    found = parse_checksums((target / MARKER).read_bytes())
    assert found.files == {path: sha256(data) for path, data in FILES.items()}
    assert found.source == "s3://bucket/"


def download_under_lease(volume: Volume, manifest: Manifest) -> None:
    bring(volume, manifest, FILES)


def test_a_name_that_we_need_ourselves_is_refused(volume: Volume) -> None:
    for path in (MARKER, ".downloading/lease.1", ".downloading"):
        with pytest.raises(VolumeError, match="needs for itself"):
            volume.inventory(Manifest("s3://b/", (remote(path, b""),)))
    volume.inventory(Manifest("s3://b/", (RemoteFile("folder/.artifact.sha256", 0),)))
