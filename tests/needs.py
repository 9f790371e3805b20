"""What a test needs of the machine. Where that is missing it is skipped, and the reason says how to get it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PRIVILEGES = "run as root with CAP_SYS_ADMIN, as in a container with --privileged"
"""How to get the right to mount and to make namespaces."""
COMMON_FILE_SYSTEM = "let --basetemp be on ext4 or XFS"
"""How to get what file systems of Linux usually have."""


def able(*command: str, get: str) -> None:
    """Run a command that the test depends on; skip the test if it does not work. `get` says how to make it work."""
    try:
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"there is no program {command[0]}: {get}")
    if answer.returncode:
        why = next(iter(answer.stderr.strip().splitlines()), f"exit status {answer.returncode}")
        pytest.skip(f"{command[0]} does not work here ({why}): {get}")


def extended_attributes(folder: Path) -> None:
    """Skip the test where files in this folder have no extended attributes."""
    try:
        os.setxattr(folder, "user.test", b"")
    except OSError as error:
        pytest.skip(f"there are no extended attributes in {folder} ({error.strerror}): {COMMON_FILE_SYSTEM}")
    os.removexattr(folder, "user.test")
