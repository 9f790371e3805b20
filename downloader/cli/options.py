"""Arguments and options of the commands. An option that overrides a variable is made from the variable's field."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from downloader.cli import completion
from downloader.config.display import AUTO, PROGRESS, DisplaySettings
from downloader.config.env import Malformed, documented, items, path
from downloader.config.file_location import file_location
from downloader.config.given import VARIABLES
from downloader.config.job import LOG_FORMATS, LOG_LEVELS
from downloader.config.mirrors import ORIGIN, Mirrors, mirrors
from downloader.sources.registry import ArtifactUri

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.config.env import Variable
    from downloader.config.file_location import FileLocation


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
PROGRESS_VARIABLE = dict(documented(DisplaySettings))["progress"].names[0]
SIGNER = ("signer_key", "signer_ca", "signer_identity", "signer_issuer", "signer_trust_root")
EACH = " Once for each."
"""What the help says of an option whose variable is a list."""
COMPLETIONS = {"only": completion.presets, "sequence": completion.protocols}
"""What a shell proposes for the values of an option."""


def overriding(*fields: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds the options of these fields of the run and its reporting, in this order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(fields):
            command = _option(field, VARIABLES[field])(command)
        return command

    return add


def _option(field: str, variable: Variable) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    name, _, value = variable.option.partition(" ")
    if not value:
        return click.option(name, field, is_flag=True, default=None, help=_help(variable))
    if variable.parse is items:  # given once for each item: a glob may contain a comma
        more: dict[str, Any] = {"multiple": True, "metavar": value, "shell_complete": completion.files}
        return click.option(name, field, help=_help(variable, EACH), **more)
    if variable.parse is mirrors:
        return click.option(
            name,
            field,
            help=_help(variable, EACH),
            multiple=True,
            metavar=value,
            callback=_mirrors,
            shell_complete=completion.schemes,
        )
    complete = COMPLETIONS.get(field)
    return click.option(
        name, field, type=Parsed(value.lower(), variable.parse), help=_help(variable), shell_complete=complete
    )


def _mirrors(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> Mirrors | None:
    """Return the mirrors of an option that is given once for each. A URI may hold a secret, so none is quoted."""
    try:
        return Mirrors.of(given) if given else None
    except Malformed:
        message = f"a mirror is a URI such as s3://bucket/folder, or the word {ORIGIN!r}, once, where the origin comes"
        raise click.BadParameter(message) from None


def _help(variable: Variable, more: str = "") -> str:
    default = f"; default: {variable.default_text}" if variable.default_text not in ("", "false") else ""
    meaning = f"{variable.meaning[:1].upper()}{variable.meaning[1:]}.{more}"
    return f"{meaning} [{variable.names[0]}{default}]".replace("`", "")


filters = overriding("include", "exclude", "only")
accept_any = overriding("accept_any")


def folder(text: str) -> Path:
    """Parse the name of a folder. An empty name, as of an unset shell variable, would mean the current folder."""
    if not text.strip():
        raise Malformed("the name of a folder")
    return path(text)


def cache_folder(text: str) -> Path | str:
    """Parse the folder of --hub-cache; it may be left out, so a URI that follows would be taken for it."""
    if "://" in text:
        raise Malformed("a folder: write --hub-cache after the URI, or --hub-cache=DIR")
    return path(text) if text.strip() else ""


def signature(text: str) -> FileLocation | str:
    """Parse the file or URI of --verify-signature; it may be left out, so a folder that follows is taken for it."""
    with suppress(OSError):  # of what cannot be looked at, reading it says why
        if text and Path(text).is_dir():
            raise Malformed("a file: write --verify-signature after the folder, or name a file with it")
    return file_location(text) if text.strip() else ""


def _be_quiet(context: click.Context, _parameter: click.Parameter, quiet: bool) -> None:  # noqa: FBT001 - click's form
    if quiet:
        context.obj.quiet = True
        context.obj.logs.set_level("warning")


def _set_level(context: click.Context, _parameter: click.Parameter, level: str | None) -> None:
    if level is not None:
        context.obj.level_chosen = True
        context.obj.logs.set_level(level)


def _set_progress(context: click.Context, _parameter: click.Parameter, progress: str | None) -> None:
    if progress is not None:
        context.obj.progress = progress


def verbosity(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the log. They are eager: parsing the other options may log already."""
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
        help=f"Log level on stderr. [{VARIABLES['log_level'].names[0]}]",
    )
    form = click.option(  # which has been read before the command line was parsed: an error in it is logged, too
        "--log-format",
        type=click.Choice(LOG_FORMATS),
        expose_value=False,
        is_eager=True,
        help=f"Lines of text on stderr, or JSON objects. [{VARIABLES['log_format'].names[0]}]",
    )
    progress = click.option(
        "--progress",
        type=click.Choice(PROGRESS),
        expose_value=False,
        is_eager=True,
        callback=_set_progress,
        help=f"Draw a bar on a terminal, log plain lines, or neither. [{PROGRESS_VARIABLE}; default: {AUTO}]",
    )
    return quiet(progress(level(form(command))))


_verify_signature = click.option(
    "--verify-signature",
    "signature_uri",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[URI]",
    type=Parsed("uri", signature),
    help="Publish only what the signer named below has signed. The signature is in the file URI, or in the model.sig or"
    f" *.sig.json of the artifact. [{VARIABLES['signature'].names[0]}=require]",
)


def signatures(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the signature and its signer."""
    return _verify_signature(overriding(*SIGNER)(command))


uri = click.argument("uri", type=URI, shell_complete=completion.schemes)
FOLDERS = ("/", "./", "../")
"""How the name of a folder begins where a URI may be left out."""
optional_uri = click.argument(
    "uri",
    type=Parsed("uri", lambda text: folder(text) if text.startswith(FOLDERS) else ArtifactUri.parse(text)),
    required=False,
    shell_complete=completion.schemes,
)
"""A URI, or the folder that follows it where the URI is left out."""
target = click.argument("target", required=False, type=Parsed("path", folder), shell_complete=completion.folders)
revision = click.option(
    "--revision",
    metavar="NAME",
    help="Of a repository in a cache of huggingface_hub, only the snapshot of this branch, tag or commit.",
)
hub_cache = click.option(
    "--hub-cache",
    "hub_cache",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[DIR]",
    type=Parsed("folder", cache_folder),
    shell_complete=completion.folders,
    help="Fill DIR as a cache of huggingface_hub instead of TARGET; without DIR, the one that HF_HUB_CACHE or HF_HOME"
    f" names. [{VARIABLES['layout'].names[0]}=hub-cache]",
)
