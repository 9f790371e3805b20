"""Addresses that hold a signature: another one for the same object is the same object."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from downloader.artifact import RemoteFile, Validator, unsigned_url
from tests.command import finish, model, run, start
from tests.servers.blobs import Noise
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.broken import BrokenWeb

MIB = 1 << 20
CONTENT = Noise(13 * MIB + 4321, seed=31).bytes()
FIRST = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261128T100000Z&X-Amz-Expires=3600&X-Amz-Signature=aa"
SECOND = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261128T120000Z&X-Amz-Expires=3600&X-Amz-Signature=bb"


def test_a_run_with_a_new_signature_goes_on_with_the_same_object(own_web: BrokenWeb, tmp_path: Path) -> None:
    url = own_web.put("model.bin", CONTENT)
    process = start("download", f"{url}?{FIRST}", tmp_path, extra={"AIM_BANDWIDTH": "20M"})
    assert eventually(lambda: own_web.log.sent() > 8 * MIB)
    os.killpg(process.pid, signal.SIGTERM)
    assert finish(process).status == 143
    own_web.log.clear()
    result = run("download", f"{url}?{SECOND}", tmp_path)
    assert result.status == 0, result.stderr
    assert model(tmp_path) == {"model.bin": CONTENT}
    assert own_web.log.sent() < len(CONTENT)  # by how much, the buffers of the sockets decide
    own_web.log.clear()
    assert run("download", f"{url}?{FIRST}", tmp_path).status == 0
    assert own_web.log.sent() == 0


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (f"{FIRST}&X-Amz-Credential=k%2F20261128&X-Amz-Security-Token=t", ""),
        ("versionId=7&X-Goog-Signature=aa&X-Goog-Expires=60", "?versionId=7"),
        ("sv=2024-01-01&se=2026&sr=b&sp=r&sig=aa%3D&id=5", "?id=5"),
        ("Expires=1&Signature=aa&Key-Pair-Id=k&Policy=p", ""),
        ("AWSAccessKeyId=k&Signature=aa&Expires=1", ""),
        ("OSSAccessKeyId=k&Signature=aa&Expires=1&security-token=t", ""),
        ("id=5&sp=3&se=4&expires=1", "?id=5&sp=3&se=4&expires=1"),
        ("", ""),
    ],
)
def test_what_belongs_to_a_signature_names_no_object(query: str, left: str) -> None:
    assert unsigned_url(f"https://h/a.bin?{query}".rstrip("?")) == f"https://h/a.bin{left}"


def test_other_parameters_name_another_object() -> None:
    one, other = (RemoteFile("a", 1, (), Validator('"v"'), f"https://h/get?id={number}&{FIRST}") for number in (1, 2))
    assert one.identity != other.identity
    keys = [RemoteFile("a", 1, (), Validator('"v"'), f"m/a?sig={number}") for number in (1, 2)]
    assert keys[0].identity != keys[1].identity
