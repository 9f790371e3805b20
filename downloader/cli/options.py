"""Arguments and options that several commands have, each read by the parser of its environment variable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from downloader.config.env import Malformed, path
from downloader.config.job import LOG_LEVELS
from downloader.sources.registry import ArtifactUri

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Parsed(click.ParamType[Any]):
    """An option that is read by the parser of its environment variable, so that both mean the same."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Parse the text of an option."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except Malformed as error:
            self.fail(f"{value!r} is not {error}", param, ctx)


URI: Parsed = Parsed("uri", ArtifactUri.parse)


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose files."""
    exclude = click.option(
        "--exclude", "exclude", multiple=True, metavar="GLOB", help="Skip files that match this glob. [AIM_HF_EXCLUDE]"
    )
    include = click.option(
        "--include", "include", multiple=True, metavar="GLOB", help="Only files that match this glob. [AIM_HF_INCLUDE]"
    )
    return include(exclude(command))


accept_any = click.option(
    "--accept-any",
    is_flag=True,
    default=None,
    help="Accept files whose content is not what their names say, such as an HTML page. [AIM_ACCEPT_ANY]",
)


def folder(text: str) -> Path:
    """Parse the name of a folder. An empty one, of a shell variable that is not set, would be the present folder."""
    if not text.strip():
        raise Malformed("the name of a folder")
    return path(text)


def _be_quiet(context: click.Context, _parameter: click.Parameter, quiet: bool) -> None:  # noqa: FBT001 - click's form
    if quiet:
        context.obj.quiet = True
        context.obj.logs.set_level("warning")


def _set_level(context: click.Context, _parameter: click.Parameter, level: str | None) -> None:
    if level is not None:
        context.obj.logs.set_level(level)


def verbosity(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the log level. They are eager: parsing the other options may log already."""
    quiet = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_be_quiet,
        help="Log only warnings and the last line.",
    )
    level = click.option(
        "--log-level",
        type=click.Choice(LOG_LEVELS),
        expose_value=False,
        is_eager=True,
        callback=_set_level,
        help="Log level on stderr. [AIM_LOG_LEVEL]",
    )
    return quiet(level(command))


target = click.argument("target", required=False, type=Parsed("path", folder))
