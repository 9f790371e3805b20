from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import TransferProtocol
from downloader.progress import Phase, Snapshot
from downloader.redaction import Redactor
from downloader.reporters.termination import LIMIT, TerminationMessage, sentence

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1024**3

DONE = Snapshot(
    phase=Phase.DONE,
    total_bytes=4 * GIB,
    done_bytes=4 * GIB,
    total_files=12,
    done_files=12,
    protocol=TransferProtocol.XET,
)
HALF = Snapshot(phase=Phase.FAILED, total_bytes=4 * GIB, done_bytes=GIB, total_files=12, done_files=3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Make the empty file that the kubelet mounts."""
    path = tmp_path / "termination-log"
    path.touch()
    return path


def test_a_success_tells_what_was_brought() -> None:
    assert sentence("hf://org/name", DONE, seconds=123, exit_status=0) == (
        "downloaded (exit status 0): hf://org/name: 12 files, 4.0 GiB, XET, 2 min 3 s"
    )


def test_a_failure_tells_why_and_how_far_it_came() -> None:
    assert sentence("s3://b/p", HALF, seconds=2.5, exit_status=75, reason="failed: no byte for 120 s") == (
        "failed (exit status 75): failed: no byte for 120 s: s3://b/p: 3 of 12 files, 1.0 GiB of 4.0 GiB, 2.5 s"
    )
    assert sentence("s3://b/p", Snapshot(), seconds=1, exit_status=66, reason="source not found (404)") == (
        "failed (exit status 66): source not found (404): s3://b/p: not listed, 1.0 s"
    )


def test_the_message_is_one_line_without_secrets(file: Path) -> None:
    TerminationMessage(Redactor("canary-secret"), file).write("failed\nwith canary-secret at https://u:pw12@h/\udcff ä")
    assert file.read_text() == r"failed\nwith *** at https://***@h/\udcff ä"


def test_a_long_message_is_cut_between_characters(file: Path) -> None:
    for shift in range(4):
        TerminationMessage(Redactor(), file).write("x" * shift + "🙂" * 1000)
        written = file.read_bytes()
        assert LIMIT - 4 < len(written) <= LIMIT
        assert written.decode().endswith("🙂…")


def test_a_newer_message_replaces_the_older(file: Path) -> None:
    message = TerminationMessage(Redactor(), file)
    message.write("a long first message")
    message.write("short")
    assert file.read_text() == "short"


def test_where_there_is_no_file_none_is_made(tmp_path: Path) -> None:
    TerminationMessage(Redactor(), tmp_path / "absent").write("unheard")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_no_error(tmp_path: Path, file: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, file / "below", tmp_path / "nul\0"):
        TerminationMessage(Redactor(), path).write("unheard")
    assert file.read_text() == ""
