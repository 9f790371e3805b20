"""Writes what is generated in the pages; with `--check` it fails where that is not current.

docs/commands.md and docs/man/ come from `--help`, docs/events.md from the events of the log, docs/benchmarks.md and the
figures of other pages from docs/benchmarks.json, the pictures from code.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
from click_man.core import write_man_pages

from docs import drawings, events, figures, plots, pypi
from downloader.cli.commands import cli
from downloader.version import __version__

DOCS = Path(__file__).parent
PROGRAM = "artifact-downloader"
HEAD = """# Commands

Generated from `--help` by `make docs`. Results go to stdout, everything else to stderr; a command ends with one of the
numbers of [Exit status](exit-status.md). [Environment](environment.md) describes the variables in brackets.
"""


def visible() -> dict[str, click.Command]:
    """Return the commands that `--help` lists; the others are entry points of the image."""
    return {name: command for name, command in cli.commands.items() if not command.hidden}


def page() -> str:
    """Return the page of all commands."""
    parts = [HEAD, f"\n```text\n{_help(cli, PROGRAM)}```\n"]
    for name, command in visible().items():
        parts.append(f"\n## {name}\n\n```text\n{_help(command, f'{PROGRAM} {name}')}```\n")
    return "".join(parts)


def files() -> dict[Path, str]:
    """Return path → content of everything that is generated."""
    commands = page()  # first: click keeps the help option as it is named when it is asked for, and click_man names it
    with tempfile.TemporaryDirectory() as folder:
        write_man_pages(
            PROGRAM, cli, version=__version__, target_dir=folder, date="-"
        )  # not today: the files are compared
        pages = {DOCS / "man" / path.name: path.read_text() for path in Path(folder).iterdir()}
    filled = figures.files()
    return {
        DOCS / "commands.md": commands,
        DOCS / "events.md": events.page(),
        DOCS / "schemas" / events.SCHEMA_FILE: events.schema_text(),
        **filled,
        pypi.PAGE: pypi.page(filled[DOCS.parent / "README.md"]),
        **plots.files(figures.cases_of(filled[DOCS / "benchmarks.md"])),
        **drawings.files(),
        **pages,
    }


def main(arguments: list[str]) -> int:
    """Write all files, or check them."""
    wanted = files()
    there = {DOCS / "commands.md", DOCS / "events.md", *(DOCS / "man").glob("*")}
    if "--check" in arguments:
        stale = [path for path in wanted.keys() | there if not path.is_file() or wanted.get(path) != path.read_text()]
        for path in sorted(stale):
            sys.stderr.write(f"{path.relative_to(DOCS.parent)} is not current: run make docs\n")
        return bool(stale)
    for path in there - wanted.keys():
        path.unlink(missing_ok=True)
    for path, content in wanted.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return 0


def _help(command: click.Command, name: str) -> str:
    settings = {**command.context_settings, "max_content_width": 100}
    context = click.Context(command, info_name=name, terminal_width=100, **settings)
    return command.get_help(context).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
