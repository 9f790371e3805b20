"""Completion by interactive shells on a terminal, and what is proposed for each argument."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import TIMEOUT, environment, run
from tests.servers.published import on_the_hub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.hub import Hub

SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        b"""bind 'set enable-bracketed-paste off'; bind 'set bell-style none'
eval "$(artifact-downloader completion bash)"
bind -x '"\\C-x\\C-l": printf "<<%s>>" "$READLINE_LINE"'
""",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        b"""autoload -U compinit; compinit -u -D; unsetopt beep; unset zle_bracketed_paste
eval "$(artifact-downloader completion zsh)"
show() { print -rn -- "<""<$BUFFER>>" }; zle -N show; bindkey '^X^L' show
""",
    ),
}
"""How each is started, and what is typed first. The last line makes a key that writes the line as it is."""
SHOW_LINE = b"\x18\x0c"
LINE = re.compile(rb"<<([^>%]*)>>")
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"m" * 100,
    "vocab.bin": b"v",
    "sub folder/it's.json": b"{}",
    "a=b/c:d@e.txt": b"",
    "m-Q4_K_M.gguf": b"GGUFq",
}


def complete(typed: str, extra: Mapping[str, str] | None = None, shell: str = "bash") -> str:
    """Return the line that an interactive shell on a terminal has after `typed` and TAB."""
    if shutil.which(shell) is None:
        pytest.skip(f"apt-get install --no-install-recommends {shell}")
    arguments, set_up = SHELLS[shell]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 1000, 0, 0))
    process = subprocess.Popen(
        arguments,
        env={**environment(extra), "PATH": path, "TERM": "dumb", "PS1": "$ ", "HISTFILE": "/dev/null"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        os.write(terminal, set_up + typed.encode() + b"\t" + SHOW_LINE)
        shown = b""
        while (found := LINE.search(shown)) is None:
            assert select.select([terminal], [], [], TIMEOUT)[0], shown
            shown += os.read(terminal, 65536)
        return found[1].decode()
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_bash_completes_commands_and_options() -> None:
    assert complete("artifact-downloader ver") == "artifact-downloader verify "
    assert complete("artifact-downloader download --exc") == "artifact-downloader download --exclude "


@pytest.mark.parametrize("typed", ["hf", "hf:", "hf:/"])
def test_bash_completes_how_a_uri_begins_and_adds_no_space(typed: str) -> None:
    assert complete(f"artifact-downloader download {typed}") == "artifact-downloader download hf://"


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("URI --exclude mo", "URI --exclude model.safetensors "),
        ("URI@main --exclude mo", "URI@main --exclude model.safetensors "),
        ("'URI' --exclude=mo", "'URI' --exclude=model.safetensors "),
        ("URI --exclude x --include sub", "URI --exclude x --include sub\\ folder/it\\'s.json "),
        ("URI --exclude 'sub", "URI --exclude 'sub folder/it'\\''s.json' "),
        ('URI --exclude "sub', 'URI --exclude "sub folder/it\'s.json" '),
        ("URI --exclude a=b/c:d", "URI --exclude a=b/c:d@e.txt "),
        ("URI --only gg", "URI --only gguf:Q4_K_M "),
        ("URI --only gguf:", "URI --only gguf:Q4_K_M "),
        ("URI --protocol XET,HF", "URI --protocol XET,HF_TRANSFER "),
        ("URI /et", "URI /etc/"),
    ],
)
def test_bash_completes_by_the_artifact_although_it_breaks_words_at_colons(
    hub: Hub, typed: str, completed: str
) -> None:
    place = on_the_hub(hub, FILES)
    command = "artifact-downloader download "

    assert complete(command + typed.replace("URI", place.uri), place.extra) == command + completed.replace(
        "URI", place.uri
    )


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("hf:", "hf://"),
        ("URI --exclude mo", "URI --exclude model.safetensors "),
        ("URI --exclude=mo", "URI --exclude=model.safetensors "),
        ("URI --include sub", "URI --include sub\\ folder/it\\'s.json "),
        ("URI --only gg", "URI --only gguf:Q4_K_M "),
        ("URI /et", "URI /etc/"),
    ],
)
def test_zsh_completes_the_same(hub: Hub, typed: str, completed: str) -> None:
    place = on_the_hub(hub, FILES)
    command = "artifact-downloader download "

    found = complete(command + typed.replace("URI", place.uri), place.extra, "zsh")
    assert found == command + completed.replace("URI", place.uri)


def test_nothing_is_proposed_where_the_artifact_cannot_be_listed(hub: Hub) -> None:
    missing = "artifact-downloader download hf://org/missing --exclude "
    assert complete(missing, {"HF_ENDPOINT": hub.endpoint}) == missing
    assert complete("artifact-downloader download not-a-uri --exclude ") == (
        "artifact-downloader download not-a-uri --exclude "
    )


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_of_other_shells_are_well_formed(shell: str) -> None:
    result = run("completion", shell)

    assert result.status == 0
    assert "_ARTIFACT_DOWNLOADER_COMPLETE" in result.stdout
    if program := shutil.which(shell):
        subprocess.run([program, "-n", "/dev/stdin"], input=result.stdout, text=True, check=True, timeout=60)


def test_another_shell_is_a_usage_error() -> None:
    result = run("completion", "csh")

    assert result.status == os.EX_USAGE
    assert "csh" in result.stderr
