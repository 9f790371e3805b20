"""Gives a peer what our own side always does: a sync, and then a comparison of what is on the disk with its digests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Tool

_OPENSSL = r"""
target=$0 sums=$1; shift
"$@" && sync -f "$target" && cd "$target" || exit
sort "$sums" > "$target.sums"
cut -c 67- "$sums" | xargs -d '\n' -n 1 -P "$(nproc)" openssl dgst -sha256 -r | sed 's/ \*/  /' | sort \
    | cmp - "$target.sums" >&2
"""
"""Not `sha256sum`: Debian's does without the processor's instructions for it and takes four times as long."""


def verified(tool: Tool, sums: Path) -> Tool:
    """Return a tool that also hashes as many files at once as there are processors, and compares with `sums`."""
    return _followed(tool, _OPENSSL, str(sums))


def cache_verified(tool: Tool, hf: str, repository: str) -> Tool:
    """Return a tool that is followed by `hf cache verify`, which compares the folder with the Hub's digests."""
    script = f"""
        target=$0; shift
        "$@" && sync -f "$target" && {hf} cache verify {repository} --local-dir "$target" --fail-on-missing-files"""
    return _followed(tool, script, "")


def _followed(tool: Tool, script: str, argument: str) -> Tool:
    def command(target: Path) -> list[str]:
        return ["sh", "-c", script, str(target), argument, *tool.command(target)]

    return replace(tool, command=command, sync=False)
