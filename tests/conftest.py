"""The servers of the suite, started once and shared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import traces
from tests.servers import ceph as ceph_server
from tests.servers import glusterfs as glusterfs_server
from tests.servers.broken import BrokenWeb
from tests.servers.certificates import Authority
from tests.servers.hub import Hub
from tests.servers.kubernetes import KubernetesServer
from tests.servers.moto import Moto
from tests.servers.mounts import missing_packages, unable_to_mount
from tests.servers.process import MissingProgram
from tests.servers.pushgateway import Pushgateway
from tests.servers.rclone import Rclone, rclone
from tests.servers.shared import shared_ceph, shared_cephfs, shared_glusterfs
from tests.servers.web import WebServer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.servers.mounts import Distributed
    from tests.servers.s3 import S3Server

# How long an example takes says more of the machine than of the code.
# New examples are for people: in CI, the same commit must give the same answer.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("suite")

TESTS = Path(__file__).parent
SLOW = frozenset(
    {
        "adapters",
        "adversarial",
        "benchmarks",
        "conformance",
        "contract",
        "deploy",
        "distributed",
        "e2e",
        "faults",
        "image",
        "servers",
        "soak",
    }
)
"""Folders whose tests are all slow: they start whole programs, or wait for real time to pass."""
SLOW_FILES = frozenset(
    {
        "archives/test_archives.py",  # archives of many megabytes
        "artifact/test_table.py",  # counts the memory of many files
        "cli/test_completion.py",  # types into interactive shells
        "formats/test_attacks.py",  # millions of pickle instructions
        "hub_cache/test_steps.py",  # a cut after each step of a run
        "reporters/test_report_file.py",  # 100,000 files
        "sources/test_adding_a_source.py",
        "sources/test_hub_routes.py",
        "sources/test_s3.py",  # these start S3 services
        "sources/test_s3_client.py",
        "sources/test_s3_listing.py",
        "sources/test_s3_multipart.py",
        "sources/test_s3_object_info.py",
        "sources/test_s3_proofs.py",  # makes a client of the SDK for each
        "test_api.py",
        "test_api_in_a_program.py",
        "test_traces.py",
        "volume/test_hostile_records.py",  # hundreds of generated records
        "volume/test_in_order.py",  # mounts rclone
        "volume/test_power_loss.py",  # a cut after each step of a run
    }
)
"""Modules of other folders whose tests are all slow."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the quick tests the time that it takes to import the slow ones."""
    slow = collection_path in map(TESTS.joinpath, SLOW | SLOW_FILES)
    return True if config.option.markexpr == "not slow" and slow else None


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(TESTS)
        folder = path.parts[0]
        if folder in SLOW or path.as_posix() in SLOW_FILES or {"ceph", "s3"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
        if folder == "image":
            item.add_marker("image")
            item.add_marker("root")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a failure tell what it has seen, before fixtures remove what the processes of the test work on."""
    report = yield
    if report.failed and call.when != "teardown":
        report.sections += traces.testify()
    if call.when == "teardown":
        traces.forget()
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    if os.geteuid() != 0 and item.get_closest_marker("root"):
        pytest.skip("needs root: sudo .venv/bin/pytest")


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


def _shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Return the folder of a server that all processes of a parallel run share."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Ceph's gateway, one for a whole parallel run; the test is skipped where Debian's packages are missing."""
    if missing := missing_packages(ceph_server.PROGRAMS):
        pytest.skip(f"apt-get install --no-install-recommends {' '.join(missing)}")
    with shared_ceph(_shared_folder(tmp_path_factory, "ceph")) as server:
        yield server


@pytest.fixture(scope="session")
def cephfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distributed]:
    """The same Ceph's file system; the test is skipped where packages or rights are missing."""
    if reason := unable_to_mount(ceph_server.FILE_SYSTEM_PROGRAMS):
        pytest.skip(reason)
    with shared_cephfs(_shared_folder(tmp_path_factory, "ceph")) as files:
        yield files


@pytest.fixture(scope="session")
def glusterfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distributed]:
    """GlusterFS, one for a whole parallel run; the test is skipped where packages or rights are missing."""
    if reason := unable_to_mount(glusterfs_server.PROGRAMS):
        pytest.skip(reason)
    with shared_glusterfs(_shared_folder(tmp_path_factory, "glusterfs")) as files:
        yield files


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """`rclone serve s3`; the test is skipped where rclone is not installed."""
    try:
        rclone()
    except MissingProgram as missing:
        pytest.skip(str(missing))
    with Rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(params=["s3", pytest.param("ceph", marks=pytest.mark.slow), "rclone_server"])
def any_s3(request: pytest.FixtureRequest) -> S3Server:
    """Each S3 service in turn."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def own_web() -> Iterator[BrokenWeb]:
    """A web server of this test's own: it can be broken at will."""
    with BrokenWeb() as server:
        yield server


@pytest.fixture
def pushgateway() -> Iterator[Pushgateway]:
    """A Pushgateway of this test's own."""
    with Pushgateway() as server:
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
