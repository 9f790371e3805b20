"""Who is told how a command failed, as known from a command line that may be invalid."""

from __future__ import annotations

import pytest

from downloader.cli.commands import cli
from downloader.cli.failure import Audience, option_value

SHOWN = {"download", "kserve"}
REPORTED = {*SHOWN, "adapter-stage"}


@pytest.mark.parametrize("command", [*cli.commands, "ls"])
def test_only_a_download_is_shown_in_the_status_and_leaves_a_report(command: str) -> None:
    audience = Audience.of(["--log-level", "debug", command, "--no-such-option"], {})
    assert audience.with_status is (command in SHOWN)
    assert audience.with_report is (command in REPORTED)


def test_an_unknown_command_may_have_been_meant_as_a_download() -> None:
    assert Audience.of([], {}).with_report
    assert Audience.of(["fetch", "hf://org/model"], {}).with_report


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["download", "--report", "a"], "a"),
        (["download", "--report=a"], "a"),
        (["download", "--report", "a", "--report=b=c"], "b=c"),
        (["download", "--report"], ""),
        (["download", "--", "--report", "a"], ""),
        ([], ""),
    ],
)
def test_an_option_is_found_in_an_invalid_command_line(arguments: list[str], value: str) -> None:
    assert option_value(arguments, "--report") == value
