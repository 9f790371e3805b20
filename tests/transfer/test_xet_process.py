"""The child of Xet that does not serve: always a reason to switch that can be understood, and nothing stays open."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import RemoteFile, Span
from downloader.errors import ProtocolDown
from downloader.transfer.xet.process import XetProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.transfer.xet.child import ChildConfig


FINAL_MESSAGE = """
import json, socket, sys
control = socket.socket(fileno=json.loads(sys.stdin.readline())["control"])
control.sendall(b'{"received": 1}\\n{"fatal": "the reason"}\\n')
"""


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def start(received: Callable[[int], None] = lambda _: None) -> XetProcess:
    config: ChildConfig = {
        "endpoint": "",
        "token": "",
        "expires": 0,
        "refresh_url": "",
        "refresh_headers": {},
        "hf_xet": {},
        "channels": [],
        "control": -1,
    }
    return XetProcess(config, {}, channels=8, received=received, down=lambda _: None)


def test_a_child_without_a_program_cannot_be_started_and_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = open_descriptors()
    with pytest.raises(ProtocolDown, match=r"cannot be started: .*No such file"):
        start()
    assert open_descriptors() == before


def test_a_child_without_descriptors_cannot_be_started_and_leaves_nothing_open() -> None:
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 5, hard))
    try:
        with pytest.raises(ProtocolDown, match=r"cannot be started: .*Too many open files"):
            start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_descriptors() == before


def test_what_it_said_last_is_the_reason_also_for_a_reader_who_sees_its_end_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    child.write_text(f"#!{sys.executable}\n{FINAL_MESSAGE}")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    process = start(received=lambda _: time.sleep(0.5))  # who listens is slow
    try:
        body = process.open(RemoteFile("a", 10, xet_hash="0" * 64), Span(0, 10))
        with pytest.raises(ProtocolDown, match="cannot be used: the reason"):
            body.readinto(memoryview(bytearray(10)))
    finally:
        process.kill()
