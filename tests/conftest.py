"""The servers of the suite, started once and shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.certificates import Authority
from tests.servers.hub import Hub
from tests.servers.kubernetes import KubernetesServer
from tests.servers.moto import Moto
from tests.servers.web import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.s3 import S3Server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA that every server's certificate comes from."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub of this test's own: it can be broken at will."""
    with Hub() as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 service that checks signatures; each test makes buckets of its own."""
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def web_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that nginx serves; each test makes a folder of its own in it."""
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="session")
def web(web_root: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """The nginx of the suite, plain and over TLS."""
    with WebServer(web_root, state=tmp_path_factory.mktemp("nginx"), authority=authority) as server:
        yield server


@pytest.fixture
def kubernetes(authority: Authority) -> Iterator[KubernetesServer]:
    """An API server of this test's own."""
    with KubernetesServer(authority) as server:
        yield server
