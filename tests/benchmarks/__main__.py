"""`make bench`: prints a table for each case, stores the results, and writes docs/benchmarks.md with `--write`."""

from __future__ import annotations

import subprocess
import tempfile
import time
import traceback
from pathlib import Path

import click

from tests.benchmarks import page
from tests.benchmarks.bench import Bench, Outcome
from tests.benchmarks.cases import CASES
from tests.benchmarks.peers import install
from tests.benchmarks.targets import targets_table
from tests.servers.certificates import Authority


@click.command()
@click.option("--only", multiple=True, help="Only cases whose title contains this; may be given several times.")
@click.option("--rounds", default=2, show_default=True, help="Counted rounds, after a warm-up; slow cases take fewer.")
@click.option(
    "--scale", default=1.0, show_default=True, help="Factor on sizes and numbers; only results at 1 are stored."
)
@click.option("--long", is_flag=True, help="Also measure what takes many minutes.")
@click.option("--write", is_flag=True, help="Write docs/benchmarks.md from the last result of each case.")
@click.option("--list", "listing", is_flag=True, help="List the titles and exit.")
def main(only: tuple[str, ...], rounds: int, scale: float, *, long: bool, write: bool, listing: bool) -> None:
    """Measure whole commands side by side."""
    titles = [title for title in CASES if not only or any(part in title for part in only)]
    if listing:
        click.echo("\n".join(titles))
        return
    install()
    outcomes: dict[str, Outcome] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        (folder / "web").mkdir()
        bench = Bench(folder, Authority(folder / "authority"), scale, rounds, long, click.echo)
        for title in titles:
            click.echo(f"\n### {title}\n")
            began = time.monotonic()
            try:
                outcomes[title] = CASES[title](bench)
            except (OSError, RuntimeError, ValueError, subprocess.SubprocessError):  # the other cases go on
                click.echo(traceback.format_exc())
                continue
            click.echo(f"\n{outcomes[title].text}\n({time.monotonic() - began:.0f} s)")
            if scale == 1:
                page.keep(title, outcomes[title])
    click.echo(f"\n{targets_table(outcomes)}\nAll in {(time.monotonic() - started) / 60:.1f} minutes.")
    if write:
        page.write(CASES)


if __name__ == "__main__":
    main()
