"""What people type, where they send the results, and what they read."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downloader.errors import Category
from tests.command import PEOPLE, environment, finish, model, run, start
from tests.contract.operator_log import BOTH_STATES, filed
from tests.needs import able
from tests.servers.blobs import Noise

if TYPE_CHECKING:
    from tests.servers.hub import Hub

URI = "hf://org/model"
TARGETS = {
    "a file": "{0}/file cannot be the target: it is a file",
    "below a file": "{0}/file/models cannot be the target: {0}/file is a file",
    "a link that leads nowhere": "{0}/link cannot be the target: it is a symlink that leads to no folder",
}
PLACES = {"a file": "file", "below a file": "file/models", "a link that leads nowhere": "link"}


@pytest.fixture
def small(hub: Hub) -> Hub:
    hub.create("org/model").commit({"config.json": b"{}", "model.bin": Noise(3 << 20, seed=5).bytes()})
    return hub


@pytest.mark.parametrize("command", [["download", URI], ["verify"]])
@pytest.mark.parametrize("what", TARGETS)
def test_a_target_that_is_no_folder_is_told_in_the_same_words_however_it_is_given(
    command: list[str], what: str, small: Hub, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file/x")
    target = str(tmp_path / PLACES[what])
    extra = {"HF_ENDPOINT": small.endpoint}
    by_argument = run(*command, target, extra=extra)
    by_environment = run(*command, extra={**extra, "TARGET_DIR": target})
    assert by_argument.status == by_environment.status == 74, by_argument.stderr
    assert TARGETS[what].format(tmp_path) in by_argument.last_line
    assert by_argument.last_line == by_environment.last_line


@pytest.mark.root
@pytest.mark.parametrize("command", [["download", URI], ["verify"]])
def test_a_target_that_may_not_be_read_is_told_in_the_same_words_however_it_is_given(
    command: list[str], small: Hub, tmp_path: Path
) -> None:
    target = tmp_path / "closed"
    target.mkdir(mode=0)
    other_user = ["setpriv", "--reuid=1234567", "--regid=1234567", "--clear-groups", "--inh-caps=-all"]
    readable = "let other users read this folder and Python itself"
    able(*other_user, "--", sys.executable, "-c", "import downloader", get=readable)
    extra = {"HF_ENDPOINT": small.endpoint}
    by_argument = finish(start(*command, target, extra=extra, through=other_user))
    by_environment = finish(start(*command, extra={**extra, "TARGET_DIR": str(target)}, through=other_user))
    assert by_argument.status == by_environment.status == 74, by_argument.stderr
    assert "Permission denied" in by_argument.last_line
    assert by_argument.last_line == by_environment.last_line


def test_an_empty_target_is_not_the_present_folder(small: Hub) -> None:
    result = run("download", URI, "", extra={"HF_ENDPOINT": small.endpoint})
    assert result.status == 64
    assert "'' is not the name of a folder" in result.last_line


def full(*arguments: str | Path, endpoint: str = "", **extra: str) -> tuple[int, str]:
    """Run a command whose results go to a device that is full; return status and log."""
    with Path("/dev/full").open("w", encoding="utf-8") as device:
        done = subprocess.run(
            [sys.executable, "-m", "downloader", *map(str, arguments)],
            env=environment({"HF_ENDPOINT": endpoint, **extra}),
            stdout=device,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    return done.returncode, done.stderr


def test_results_that_cannot_be_written_end_with_a_last_line_and_are_no_full_volume(small: Hub, tmp_path: Path) -> None:
    assert run("download", URI, tmp_path / "t", extra={"HF_ENDPOINT": small.endpoint}).status == 0
    (tmp_path / "t/config.json").write_bytes(b"damaged")
    for arguments in (["size", URI], ["check-size", URI], ["verify", tmp_path / "t"], ["--help"], ["--version"]):
        status, log = full(*arguments, endpoint=small.endpoint)
        assert status == 74, (arguments, log)
        last_line = log.splitlines()[-1]
        assert last_line.startswith("failed: the result cannot be written to standard output: ")
        assert [filed(log, newest=newest) for newest in BOTH_STATES] == [Category.OTHER] * 2
        assert "report this" not in log
    assert "No space left on device" in full("size", URI, endpoint=small.endpoint, **PEOPLE)[1]


@pytest.mark.parametrize("command", [["size", URI], ["list", URI], ["digest", "t"], ["checksums", "t"], ["--version"]])
def test_results_for_a_closed_standard_output_are_not_said_to_be_written(
    command: list[str], small: Hub, tmp_path: Path
) -> None:
    extra = {"HF_ENDPOINT": small.endpoint}
    assert run("download", URI, tmp_path / "t", extra=extra).status == 0
    arguments = [str(tmp_path / word) if word == "t" else word for word in command]
    result = finish(start(*arguments, extra={**extra, **PEOPLE}, through=("sh", "-c", 'exec "$@" >&-', "sh")))
    assert result.status == 74, result.stderr
    assert "the result cannot be written to standard output: it is closed" in result.last_line


LONG = "x" * 300
"""No file system has a name of this length, and looking at it is an error other than that it is missing."""
UNSEEN = {
    "a target like a repository in a cache": (["verify", f"{LONG}/models--org--model"], 74),
    "a snapshot like one in a cache": (["digest", f"{LONG}/models--org--model/snapshots/{'0' * 40}"], 74),
    "a cache": (["download", URI, f"--hub-cache={LONG}"], 74),
    "a signature": (["verify", "/", "--signer-key", "/dev/null", "--verify-signature", LONG], 78),
}


@pytest.mark.parametrize("what", UNSEEN)
def test_a_path_that_cannot_be_looked_at_is_no_bug(what: str, small: Hub) -> None:
    arguments, status = UNSEEN[what]
    result = run(*arguments, extra={"HF_ENDPOINT": small.endpoint, **PEOPLE})
    assert result.status == status, result.stderr
    assert "File name too long" in result.last_line


@pytest.mark.parametrize("arguments", [["verify", "models--a--b"], ["doctor", URI, "t"], ["download", URI, "t"]])
def test_a_current_folder_that_was_removed_is_named(arguments: list[str], small: Hub, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    there = ("sh", "-c", 'cd "$0/gone" && rmdir "$0/gone" && exec "$@"', str(tmp_path))
    result = finish(start(*arguments, extra={"HF_ENDPOINT": small.endpoint, **PEOPLE}, through=there))
    assert result.status == 74, result.stderr
    assert "the current folder" in result.last_line


@pytest.mark.parametrize("arguments", [["-q", "size", URI], ["size", URI, "-q"], ["size", "--quiet", URI]])
def test_quiet_may_stand_before_and_after_the_command(arguments: list[str], small: Hub) -> None:
    result = run(*arguments, extra={"HF_ENDPOINT": small.endpoint})
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.startswith("{")


DEBUG = [["--log-level", "debug", "verify"], ["verify", "--log-level", "debug"], ["verify", "--log-level=debug"]]


@pytest.mark.parametrize("arguments", DEBUG)
def test_the_log_level_may_stand_before_and_after_the_command(arguments: list[str], small: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": small.endpoint, "TARGET_DIR": str(tmp_path / "t")}
    assert run("download", URI, extra=extra).status == 0
    result = run(*arguments, extra=extra)
    assert result.status == 0
    assert " debug " in result.stderr


def test_verify_shows_how_far_it_is(small: Hub, tmp_path: Path) -> None:
    extra = {"HF_ENDPOINT": small.endpoint, "TARGET_DIR": str(tmp_path / "t")}
    assert run("download", URI, extra=extra).status == 0
    slow = finish(start("verify", extra={**extra, "PROGRESS_INTERVAL": "0.1"}, module=["tests.slow_reads", "0.3"]))
    assert slow.status == 0, slow.stderr
    assert re.search(r"hashing: \d+ %, .* of 3.0 MiB, .*/s, .* left", slow.stderr), slow.stderr


@pytest.mark.parametrize(("term", "drawn"), [("dumb", False), ("xterm", True)])
def test_a_dumb_terminal_gets_plain_lines(term: str, drawn: bool, small: Hub, tmp_path: Path) -> None:  # noqa: FBT001
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "downloader", "download", URI, str(tmp_path / "t")],
        env=environment({"HF_ENDPOINT": small.endpoint, "TERM": term}),
        stderr=terminal,
        stdout=subprocess.DEVNULL,
    )
    os.close(terminal)
    shown = b""
    while process.poll() is None or select.select([screen], [], [], 0)[0]:
        if select.select([screen], [], [], 0.1)[0]:
            try:
                shown += os.read(screen, 65536)
            except OSError:  # the terminal is closed
                break
    os.close(screen)
    assert process.wait() == 0
    assert (b"\x1b" in shown or b"\xe2\x96" in shown) is drawn, shown


def test_the_demo_keeps_what_it_fetched_and_says_where(small: Hub, tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo", URI],
        env=environment({"HF_ENDPOINT": small.endpoint, "PYTHONPATH": root}),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"it is in {tmp_path}/demo/org-model"
    assert model(tmp_path / "demo/org-model").keys() == {"config.json", "model.bin"}


HABITS = {
    "hf": (["download", URI, "t", "--revision", "main"], "hf://org/name@revision"),
    "hf with a folder": (["download", URI, "--local-dir", "t"], "write the folder after the URI"),
    "aws": (["list", "s3://bucket", "--endpoint-url", "http://host"], "set AWS_ENDPOINT_URL"),
    "curl": (["download", "https://host/x", "-o", "t"], "write the folder after the URI"),
    "no command": ([URI, "t"], "write artifact-downloader download URI TARGET"),
    "a glob that the shell expands": (["download", URI, "t", "--include", "a.json", "b.json"], "quote each glob"),
    "no habit": (["download", URI, "t", "--unheard-of"], "see artifact-downloader download --help"),
    "no number": (["download", URI, "t", "--connections", "many"], "see artifact-downloader download --help"),
    "many": (["list", URI, "-v"], "--log-level debug"),
}


@pytest.mark.parametrize("habit", HABITS)
def test_habits_of_other_tools_are_answered_with_what_to_write(habit: str) -> None:
    arguments, answer = HABITS[habit]
    result = run(*arguments)
    assert result.status == 64
    assert answer in result.last_line


def test_the_folder_that_nothing_has_named_is_said(small: Hub) -> None:
    result = run("download", URI, "--dry-run", extra={"HF_ENDPOINT": small.endpoint, **PEOPLE})
    assert "neither TARGET nor TARGET_DIR names a folder: /cache is used" in result.stderr
    result = run("download", URI, "--dry-run", extra={"HF_ENDPOINT": small.endpoint, "TARGET_DIR": "/t", **PEOPLE})
    assert "is used" not in result.stderr


def test_a_file_in_the_place_of_a_folder_is_found_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.create("org/model").commit({"config.json": b"{}", "sub/deeper/model.bin": b"1" * 1000})
    (tmp_path / "sub").write_bytes(b"mine")
    for command in (["download", URI], ["download", "--dry-run", URI], ["doctor", URI]):
        result = run(*command, tmp_path, extra={"HF_ENDPOINT": hub.endpoint, **PEOPLE})
        assert result.status == 74, result.stderr
        assert "sub is a file, but the artifact has a folder of this name" in result.last_line
    assert model(tmp_path) == {"sub": b"mine"}


def test_only_a_sequence_without_http_is_told_to_add_it(tmp_path: Path) -> None:
    fails = {"AIM_DEBUG_SIMULATE_HF_DOWNLOAD": "1", "AIM_DEBUG_SIMULATE_HF_FAIL_PROTOCOLS": "XET,HTTP", **PEOPLE}
    for sequence, is_told in (("XET", True), ("XET,HTTP", False)):
        extra = {**fails, "AIM_DEBUG_SIMULATE_HF_DURATION": "0.1", "AIM_DOWNLOADER_PROTOCOL": sequence}
        result = run("download", URI, tmp_path / sequence, extra=extra)
        assert result.status == 69, result.stderr
        assert ("add HTTP to AIM_DOWNLOADER_PROTOCOL" in result.last_line) == is_told
