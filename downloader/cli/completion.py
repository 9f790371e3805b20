"""Completion in shells: the script that a shell loads, and what fits an argument so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.shell_completion import BashComplete, CompletionItem, FishComplete, ZshComplete, split_arg_string

from downloader.deadlines import COMPLETION_LISTING
from downloader.errors import DownloadError
from downloader.sources.registry import SCHEMES, ArtifactUri

if TYPE_CHECKING:
    import click

_KINDS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
SHELLS = tuple(_KINDS)
PROGRAM = "artifact-downloader"
VARIABLE = "_ARTIFACT_DOWNLOADER_COMPLETE"
"""Click completes instead of running a command where the script of the shell sets it."""


def script(command: click.Command, shell: str) -> str:
    """Return the script that makes `shell` complete the arguments of `command`."""
    return _KINDS[shell](command, {}, PROGRAM, VARIABLE).source()


def schemes(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return how a URI can begin."""
    return [CompletionItem(f"{name}://") for name in SCHEMES if f"{name}://".startswith(incomplete)]


def folders(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Leave it to the shell to name folders."""
    return [CompletionItem(incomplete, type="dir")]


def files(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the files of the artifact that the command line names, or nothing if they cannot be had soon."""
    from downloader.api import list_files  # noqa: PLC0415 - paid for only where files are completed

    environ = context.obj.environ
    # Click has not read the positional arguments yet: an option without its value ends its parser.
    uri = next((word for word in split_arg_string(environ.get("COMP_WORDS", "")) if "://" in word), "")
    try:
        artifact = list_files(ArtifactUri.parse(uri), environ=environ, deadline=COMPLETION_LISTING)
    except DownloadError:  # a shell has no place for an error
        return []
    return [CompletionItem(file.path) for file in artifact.files if file.path.startswith(incomplete)]
