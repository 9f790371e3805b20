"""Completion in shells: the script that a shell loads, and what fits an argument so far."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from downloader.artifact import TransferProtocol
from downloader.deadlines import COMPLETION_LISTING
from downloader.errors import DownloadError
from downloader.presets import GGUF, SAFETENSORS
from downloader.sources.registry import SCHEMES, ArtifactUri

if TYPE_CHECKING:
    import click

    from downloader.api import Artifact

END = "\0"
"""Ends a command line, so that the last word is there even if it is empty."""
SPECIAL = {"": re.compile(r"([^\w@%+=:,./^-])"), '"': re.compile(r'(["$`\\])'), "'": re.compile(r"(')")}
"""What bash would not take for a part of a word, or not as it is: without quotes, and in either."""
ESCAPE = {"": r"\\\1", '"': r"\\\1", "'": r"'\\''"}
BASH = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value"); if [[ $value == *[:/] ]]; then compopt -o nospace; fi ;;
        esac
    done < <(env COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""
ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a response described begun whole
    local type key descr
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) %(complete_var)s=zsh_complete \
        %(prog_name)s 2>/dev/null)}")
    compset -P '--*='
    for type key descr in ${response}; do
        case $type in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain)
                if [[ $descr != _ ]]; then described+=("$key:$descr")
                elif [[ $key == *[:/] ]]; then begun+=("$key")
                else whole+=("$key"); fi ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#begun )) && compadd -U -S '' -V unsorted -a begun
    (( $#whole )) && compadd -V unsorted -a whole
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""


class Zsh(ZshComplete):
    """Adds no space behind what is only the beginning of a word, and keeps `--name=` before a value."""

    source_template = ZSH


class Bash(BashComplete):
    """Completes whole words: for bash, a word ends at `:`, `=` and `@`, which URIs and presets have."""

    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and the one that it is in."""
        environ = self.ctx_args["obj"].environ
        line = environ["COMP_WORDS"]
        *words, last = split_arg_string(line + END)
        incomplete = last.removesuffix(END)
        self._quote = _open_quote(line)
        breaks = "" if self._quote else environ.get("COMP_WORDBREAKS", "")
        self._kept = incomplete[
            : max((place + 1 for place, sign in enumerate(incomplete) if sign in breaks), default=0)
        ]
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return the part of the word that bash replaces, as it has to be typed."""
        value = item.value.removeprefix(self._kept) if item.type == "plain" else item.value
        return f"{item.type},{SPECIAL[self._quote].sub(ESCAPE[self._quote], value)}"


def _open_quote(line: str) -> str:
    """Return the quote that the end of a line is in; empty for none."""
    quote, escaped = "", False
    for sign in line:
        if escaped or (sign == "\\" and quote != "'"):
            escaped = not escaped
        elif quote:
            quote = quote.replace(sign, "")
        elif sign in "'\"":
            quote = sign
    return quote


add_completion_class(Bash)
_KINDS = {"bash": Bash, "zsh": Zsh, "fish": FishComplete}
SHELLS = tuple(_KINDS)
PROGRAM = "artifact-downloader"
VARIABLE = "_ARTIFACT_DOWNLOADER_COMPLETE"
"""Click completes instead of running a command where the script of the shell sets it."""


def script(command: click.Command, shell: str) -> str:
    """Return the script that makes `shell` complete the arguments of `command`."""
    return _KINDS[shell](command, {}, PROGRAM, VARIABLE).source()


def schemes(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return how a URI can begin; `hf+https` only once it was begun, since few users have an endpoint of their own."""
    usual = (f"{name}://" for name in SCHEMES if "+" not in name or "+" in incomplete)
    return [CompletionItem(prefix) for prefix in usual if prefix.startswith(incomplete)]


def folders(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Leave it to the shell to name folders."""
    return [CompletionItem(incomplete, type="dir")]


def files(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the files of the artifact that the command line names, or nothing if listing them takes too long."""
    artifact = _artifact(context)
    paths = [file.path for file in artifact.files] if artifact else []
    return [CompletionItem(path) for path in paths if path.startswith(incomplete)]


def presets(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the presets that fit the artifact, or how a preset can begin."""
    artifact = _artifact(context)
    names = map(str, artifact.presets) if artifact else (SAFETENSORS, f"{GGUF}:")
    return [CompletionItem(name) for name in names if name.lower().startswith(incomplete.lower())]


def protocols(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the protocols that a list can go on with."""
    before, comma, last = incomplete.rpartition(",")
    names = [name for name in TransferProtocol if name.startswith(last.upper())]
    return [CompletionItem(f"{before}{comma}{name}") for name in names]


def _artifact(context: click.Context) -> Artifact | None:
    from downloader.api import list_files  # noqa: PLC0415 - paid for only where files are completed

    environ = context.obj.environ
    # Click has not read the positional arguments yet: an option without its value ends its parser.
    uri = next((word for word in split_arg_string(environ.get("COMP_WORDS", "")) if "://" in word), "")
    try:
        return list_files(ArtifactUri.parse(uri), environ=environ, deadline=COMPLETION_LISTING, everything=True)
    except DownloadError:  # a shell has no place for an error
        return None
