"""The child of Xet where it cannot even be started: a reason to switch, and nothing stays open."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.errors import ProtocolDown
from downloader.transports.xet.process import XetProcess

if TYPE_CHECKING:
    from downloader.transports.xet.child import Order


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def start() -> None:
    order: Order = {
        "endpoint": "",
        "token": "",
        "expires": 0,
        "refresh_url": "",
        "refresh_headers": {},
        "config": {},
        "channels": [],
        "control": -1,
    }
    XetProcess(order, {}, channels=8, received=lambda _: None, down=lambda _: None)


def test_without_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = open_descriptors()
    with pytest.raises(ProtocolDown, match=r"cannot be started: .*No such file"):
        start()
    assert open_descriptors() == before


def test_without_descriptors() -> None:
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 5, hard))
    try:
        with pytest.raises(ProtocolDown, match=r"cannot be started: .*Too many open files"):
            start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_descriptors() == before
