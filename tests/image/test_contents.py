"""What is in the image, with the extras and without, and what is not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from downloader import __version__
from tests.image.container import OPERATOR, STRANGER
from tests.image.contents import size

if TYPE_CHECKING:
    from tests.image.container import Containers
    from tests.image.engine import Docker

MIB = 1 << 20
WRITABLE = {"/cache", "/tmp", "/var/tmp", "/run/lock"}  # noqa: S108 - in the image
ADDED = {"plain": 86 * MIB, "full": 150 * MIB}
"""What each image may have more than its base."""
CHECKS = {"plain": (), "full": ("--extras",)}
TOOLS = ("cc", "gcc", "make", "pip", "pip3", "uv", "kubectl", "s3cmd", "aws", "hf", "git", "curl", "wget")


@dataclass(frozen=True)
class Shell:
    """Runs scripts in the image, as this or that user, with all that a plain `docker run` allows."""

    docker: Docker
    image: str

    def __call__(self, script: str, user: str = OPERATOR) -> str:
        where = ("--user", user, "--network=none", "--entrypoint=sh")
        return self.docker("run", "--rm", *where, self.image, "-c", script)


@pytest.fixture(params=ADDED)
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two images."""
    name: str = request.param
    return name


@pytest.fixture
def image(kind: str, full: str, pytestconfig: pytest.Config) -> str:
    """Each of the two images, which `containers` starts here."""
    plain: str = pytestconfig.getoption("--image")
    return full if kind == "full" else plain


@pytest.fixture
def shell(docker: Docker, image: str) -> Shell:
    """A shell in the image."""
    return Shell(docker, image)


def test_the_image_holds_no_compiler_installer_or_client_of_another_kind(shell: Shell) -> None:
    assert shell(f"for tool in {' '.join(TOOLS)}; do command -v $tool; done; true") == ""


def test_no_installer_can_be_imported(shell: Shell) -> None:
    tries = 'for module in pip setuptools ensurepip; do python -c "import $module" 2>&1 && echo $module; done; true'
    assert shell(tries).count("ModuleNotFoundError") == 3


def test_the_image_is_started_as_user_1000_and_names_itself(docker: Docker, image: str, containers: Containers) -> None:
    config = json.loads(docker("image", "inspect", image))[0]["Config"]
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["/entrypoint.sh"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["version"] == __version__
    assert labels["licenses"] == "MIT"
    assert labels.keys() == {"title", "description", "licenses", "version", "revision", "created"}
    assert __version__ in containers.run("--version").stdout


def test_everything_that_a_run_imports_is_there_as_bytecode(kind: str, containers: Containers) -> None:
    result = containers.run("-v", "/opt/check.py", *CHECKS[kind], entry_point="python")
    assert result.status == 0, result.stderr[-2000:]
    loaded = [line for line in result.stderr.splitlines() if line.startswith("# code object from ")]
    assert len(loaded) > 500
    assert [line for line in loaded if line.endswith(".py'") and "/opt/check.py" not in line] == []


def test_the_user_can_write_nothing_but_the_places_for_data(shell: Shell) -> None:
    found = shell("find / -xdev -writable ! -type l -print 2>/dev/null || true").split()
    assert "/cache" in found
    assert set(found) <= WRITABLE


def test_we_add_little_to_the_base(docker: Docker, kind: str, image: str, base: str) -> None:
    assert MIB < size(docker, image) - size(docker, base) < ADDED[kind]


def test_the_image_with_the_extras_has_the_layers_of_the_other_one(
    docker: Docker, full: str, pytestconfig: pytest.Config
) -> None:
    plain, larger = (
        json.loads(docker("image", "inspect", name))[0]["RootFS"]["Layers"]
        for name in (pytestconfig.getoption("--image"), full)
    )
    assert larger[: len(plain)] == plain
    assert len(larger) == len(plain) + 2  # the extras, and the bytecode of the standard library for them


def test_a_user_without_a_name_has_a_home_that_can_be_written(shell: Shell) -> None:
    script = 'test -w "$HOME" && test -w "$TMPDIR" && python -c "import pathlib; print(pathlib.Path.home())"'
    assert shell(script, user=STRANGER).strip() in WRITABLE
