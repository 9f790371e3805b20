"""Every command line of ours in the pages is one that the program understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from downloader.cli.commands import cli

PROGRAM = "artifact-downloader"
PAGES = [Path("README.md"), *sorted(path for path in Path("docs").rglob("*.md") if path.name != "commands.md")]
BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def lines() -> list[str]:
    """Return the lines of the shell blocks of all pages that start our command, also in a container."""
    blocks = [block for page in PAGES for block in BLOCK.findall(page.read_text())]
    return sorted({line.removeprefix("$ ") for block in blocks for line in block.splitlines() if PROGRAM in line})


def arguments_of(line: str) -> list[str] | None:
    """Return the arguments of our command; None if the line is about something else of this name."""
    words = shlex.split(line, comments=True)
    if words[:1] == [PROGRAM]:
        return words[1:]
    if words[:2] == ["docker", "run"] and PROGRAM in words:
        given = words[words.index(PROGRAM) + 1 :]
        return given if given[0] in cli.commands or given[0].startswith("-") else ["download", *given]
    return None


OURS = [line for line in lines() if arguments_of(line)]


def test_the_pages_have_command_lines() -> None:
    assert len(OURS) > 10


@pytest.mark.parametrize("line", OURS)
def test_the_command_and_its_options_exist(line: str) -> None:
    name, *rest = arguments_of(line) or [""]
    command = cli.commands.get(name)
    if command is None:
        assert name in {option for parameter in cli.get_params(click.Context(cli)) for option in parameter.opts}
        return
    try:
        command.make_context(name, rest, resilient_parsing=False)
    except click.exceptions.Exit:
        pytest.fail("asks for help")


@pytest.mark.parametrize("page", [page for page in PAGES if "docker run" in page.read_text()], ids=str)
def test_a_volume_of_docker_is_mounted_where_the_images_user_may_write(page: Path) -> None:
    # Docker gives a new volume the owner of the image's folder at that place; without one, root owns it.
    for line in re.findall(r"docker run [^`\n]*", page.read_text()):
        for source, place in re.findall(r"-v \"?([^:\s]+):([^\s\"]+)", line):
            assert place == "/cache", line
            assert source.isalnum() or "--user" in line, line
