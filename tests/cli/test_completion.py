"""Completion by the real bash, and what is proposed for each argument."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import environment, run
from tests.servers.published import on_the_hub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.hub import Hub

COMPLETE = """
eval "$(artifact-downloader completion bash)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
compopt() { :; }
_artifact_downloader_completion artifact-downloader
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(*words: str, extra: Mapping[str, str] | None = None) -> list[str]:
    """Return what bash proposes for the last word."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", "artifact-downloader", *words],
        env={**environment(extra), "PATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_and_options() -> None:
    assert complete("ver") == ["verify"]
    assert "--exclude" in complete("download", "--ex")


def test_bash_completes_how_a_uri_begins() -> None:
    assert complete("download", "h") == ["hf://", "http://", "https://"]


def test_bash_completes_the_files_of_an_artifact(hub: Hub) -> None:
    place = on_the_hub(hub, {"config.json": b"{}", "model.safetensors": b"m" * 100, "model.bin": b"b"})

    assert complete("download", place.uri, "--exclude", "model.", extra=place.extra) == [
        "model.bin",
        "model.safetensors",
    ]


def test_nothing_is_proposed_where_the_artifact_cannot_be_listed(hub: Hub) -> None:
    assert complete("download", "hf://org/missing", "--exclude", "", extra={"HF_ENDPOINT": hub.endpoint}) == []
    assert complete("download", "not-a-uri", "--exclude", "", extra={}) == []


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
