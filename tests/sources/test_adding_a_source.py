"""Walks `docs/contributing/adding-a-source.md`: its code is put where it says, and the command downloads with it."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import downloader
from downloader.config import Settings
from downloader.config.env import count, read, variable
from downloader.errors import ConfigurationError
from downloader.sources.registry import Scheme
from tests.command import Result, finish, model, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    Command = Callable[..., Result]

ROOT = Path(downloader.__file__).parents[1]
PAGE = (ROOT / "docs" / "contributing" / "adding-a-source.md").read_text()
SOURCE, ENTRY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILES = {"config.json": b"{}", "weights/model.bin": bytes(range(256)) * 400}
PROGRAM = """
import downloader.sources
downloader.sources.__path__.append({folder!r})
from downloader.sources import registry
exec(compile({entry!r}, "adding-a-source.md", "exec", dont_inherit=True, flags=annotations), vars(registry))
from downloader.__main__ import main
main()
"""


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command in which the steps of the page have been taken."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "memory.py").write_text(SOURCE)
    program = PROGRAM.replace("annotations", "__import__('__future__').annotations.compiler_flag")
    (tmp_path / "with_memory.py").write_text(program.format(folder=str(tmp_path / "sources"), entry=ENTRY))
    paths = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    return lambda *arguments, **extra: finish(start(*arguments, extra={**paths, **extra}, module=["with_memory"]))


def test_the_command_knows_the_scheme(command: Command) -> None:
    assert "memory://name" in command("--help").stdout
    told = command("size", "memory://")
    assert told.status == 64
    assert "memory:// names no artifact" in told.stderr


def test_what_it_lists_has_a_size(command: Command) -> None:
    told = command("size", "memory://toy")
    assert json.loads(told.stdout.splitlines()[-1]) == {
        "url": "memory://toy",
        "sizeBytes": sum(map(len, FILES.values())),
    }


@pytest.mark.parametrize("protocol", ["", "HTTP"])
def test_the_engine_downloads_it_and_knows_it_again(command: Command, tmp_path: Path, protocol: str) -> None:
    first = command("download", "memory://toy", tmp_path / "model", AIM_DOWNLOADER_PROTOCOL=protocol)
    assert first.status == 0, first.stderr
    assert model(tmp_path / "model") == FILES
    before = (tmp_path / "model" / "config.json").stat()
    assert command("download", "memory://toy", tmp_path / "model").status == 0
    assert (tmp_path / "model" / "config.json").stat() == before


def test_a_file_that_is_damaged_is_fetched_again(command: Command, tmp_path: Path) -> None:
    target = tmp_path / "model"
    command("download", "memory://toy", target)
    (target / "weights" / "model.bin").write_bytes(b"damaged")
    assert command("download", "memory://toy", target).status == 0
    assert model(target) == FILES


def test_what_is_not_there_ends_as_its_error_says(command: Command, tmp_path: Path) -> None:
    told = command("download", "memory://missing", tmp_path / "model")
    assert told.status == 66
    assert "there is no artifact memory://missing" in told.stderr


def test_without_the_steps_the_scheme_is_not_known(tmp_path: Path) -> None:
    told = finish(start("download", "memory://toy", tmp_path / "model"))
    assert told.status == 64
    assert "scheme 'memory' is not known" in told.stderr


def test_the_page_explains_every_field_of_an_entry() -> None:
    fields = [field.name for field in dataclasses.fields(Scheme)]
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == fields


def test_the_source_passes_the_linter() -> None:
    name = "downloader/sources/memory.py"
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", "--stdin-filename", name, "-"]
    found = subprocess.run(ruff, check=False, input=SOURCE, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_page_names_only_files_that_are_there() -> None:
    named = set(re.findall(r"\b(?:downloader|tests)/[\w/.]*\w", PAGE)) - {"downloader/sources/memory.py"}
    assert len(named) > 5
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@dataclasses.dataclass(frozen=True)
class ToySettings:
    """What only one scheme needs."""

    port: int = variable("TOY_PORT", "a port", parse=count(1, 65535), default=80)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], problems: list[str], /) -> Self:
        return read(cls, environ, problems)


def test_a_section_of_its_own_is_read_for_its_own_runs_only() -> None:
    settings = Settings.from_environment({"TOY_PORT": "8080"}, section=ToySettings)
    assert settings.own == settings.section(ToySettings) == ToySettings(8080)
    assert Settings().section(ToySettings) == ToySettings(80)
    with pytest.raises(ConfigurationError, match="TOY_PORT"):
        Settings.from_environment({"TOY_PORT": "none"}, section=ToySettings)
    assert Settings.from_environment({"TOY_PORT": "none"}).own is None
