"""Generates `docs/environment.md` from the settings: `python -m downloader.config.docgen [--check] FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from downloader.config.env import documented
from downloader.config.warnings import SECTIONS

HEAD = """# Environment

Generated from `downloader/config/` by `make docs`. Variables are read once at the start; an empty value counts as
unset. If values are invalid, one message names all of them, and the exit status is 78. If a variable has several names,
the first one that is set is used. An option of the command line overrides its variable. Seconds may be given as `90s`,
`15m`, `2h` or `1d`, too. A `~` at the beginning of a path is your home. Globs and mirrors are separated by commas;
their options are given once for each.

A name that begins with `AIM_` and is not on this page causes a warning with the most similar name.
"""


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for section in SECTIONS:
        summary = (section.__doc__ or "").strip().splitlines()[0]
        parts.append(f"\n## {summary.rstrip('.')}\n\n| variable | meaning | default |\n|---|---|---|\n")
        for _, facts in documented(section):
            names = ", then ".join(f"`{name}`" for name in facts.names)
            if facts.option:
                names += f"; `{facts.option}`"
            default = facts.default_text
            if default and " " not in default and "`" not in default:
                default = f"`{default}`"
            parts.append(f"| {names} | {facts.meaning}{' (secret)' if facts.secret else ''} | {default} |\n")
    return "".join(parts)


def main(arguments: list[str]) -> int:
    """Write the page; with `--check` return 1 if the file is not current."""
    check = "--check" in arguments
    target = Path(next(argument for argument in arguments if not argument.startswith("-")))
    if not check:
        target.write_text(page())
        return 0
    if target.is_file() and target.read_text() == page():
        return 0
    sys.stderr.write(f"{target} is not current: run make docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
