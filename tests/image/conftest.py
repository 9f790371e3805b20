"""These tests need an engine and an image, which `make image-test` makes; plain `make test` passes them over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.image.container import OPERATOR, Containers
from tests.image.engine import Docker
from tests.image.job import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.certificates import Authority
    from tests.servers.kubernetes import KubernetesServer

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", help="address of the container engine")
    parser.addoption("--image", help="name of the image")
    parser.addoption("--full", help="name of the image with the extras")
    parser.addoption("--base", help="name of the image that it was built on")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Collect nothing unless there is an image, and say what is missing if this folder is named."""
    if config.getoption("--image"):
        return None
    named = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    if any(path.is_relative_to(HERE) for path in named):
        raise pytest.UsageError("the tests of the image need an engine and an image: make image-test")
    return True


@pytest.fixture(scope="session")
def docker(pytestconfig: pytest.Config) -> Docker:
    """The client of the engine that has the image."""
    return Docker(pytestconfig.getoption("--engine"))


@pytest.fixture(scope="session")
def image(pytestconfig: pytest.Config) -> str:
    """The image's name."""
    name: str = pytestconfig.getoption("--image")
    return name


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> str:
    """The name of the image with the extras."""
    name: str = pytestconfig.getoption("--full")
    return name


@pytest.fixture(scope="session")
def base(pytestconfig: pytest.Config) -> str:
    """The name of the image below it."""
    name: str = pytestconfig.getoption("--base")
    return name


@pytest.fixture
def containers(docker: Docker, image: str) -> Iterator[Containers]:
    """Starts containers; those of a test end with it."""
    started = Containers(docker, image)
    yield started
    started.close()


@pytest.fixture
def plain(docker: Docker, pytestconfig: pytest.Config) -> Iterator[Containers]:
    """Starts containers of the image without the extras, also where `containers` has another one."""
    started = Containers(docker, pytestconfig.getoption("--image"))
    yield started
    started.close()


@pytest.fixture(params=[OPERATOR])
def job(
    request: pytest.FixtureRequest,
    containers: Containers,
    kubernetes: KubernetesServer,
    tmp_path: Path,
    authority: Authority,
) -> Job:
    """The operator's download Job, with a volume of its own; the parameter is its user."""
    return Job(containers, kubernetes, tmp_path, authority, request.param)
