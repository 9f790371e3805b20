"""`make bench`: prints a table for each case; with `--write` the results become those of the pages."""

from __future__ import annotations

import subprocess
import sys
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
@click.option("--scale", default=1.0, show_default=True, help="Factor on sizes and numbers; --write needs 1.")
@click.option("--long", is_flag=True, help="Also measure what takes many minutes.")
@click.option(
    "--write", is_flag=True, help="Store the results in docs/benchmarks.json and write every page that shows them."
)
@click.option("--list", "listing", is_flag=True, help="List the titles and exit.")
def main(only: tuple[str, ...], rounds: int, scale: float, *, long: bool, write: bool, listing: bool) -> None:
    """Measure whole commands side by side."""
    titles = [title for title in CASES if not only or any(part in title for part in only)]
    if listing:
        click.echo("\n".join(titles))
        return
    if write and scale != 1:
        raise click.UsageError("--write needs --scale 1")
    install()
    measured = page.commit()  # before the results of the first case change the tree
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
            if write:
                page.keep(title, outcomes[title], measured, CASES)
    values = {title: outcome.values for title, outcome in outcomes.items()}
    click.echo(f"\n{targets_table(values)}\nAll in {(time.monotonic() - started) / 60:.1f} minutes.")
    if write:
        subprocess.run([sys.executable, "-m", "docs.reference"], check=True)


if __name__ == "__main__":
    main()
