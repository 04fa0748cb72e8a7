"""All phases at full length, or some of them; the page docs/reliability.md.

A phase that fails is shown as failed, and the others are run all the same.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sweeper import logs
from tests.bench.machine import BUSY, load
from tests.reliability.page import HEADS, row, write
from tests.reliability.phases import PHASES, Phase
from tests.reliability.postgres import Prepared
from tests.reliability.run import Lengths, Result, run

_WIDTH = 160  # of the table in a file
_PACKAGES = ("psycopg", "sqlalchemy", "pgmq")


def main() -> None:
    """Run the phases that the options say, show what they found, and write the page if asked."""
    options = _options()
    logs.configure("error", "json")
    console = Console(stderr=True)
    if load() > BUSY:
        console.print(f"[bold red]the machine is busy (load {load():.1f}): the figures will tell")
    lengths = Lengths(rate=options.rate)
    with TemporaryDirectory(prefix="sweeper-prepared-") as name:
        prepared = Prepared(Path(name))
        versions = _versions(prepared)
        results = run_all(_chosen(options.only), prepared, lengths, console)
    show(results)
    if options.write:
        console.print(f"written: {write(results, lengths, versions).relative_to(Path.cwd())}")
    sys.exit(1 if any(each.faults for each in results) else 0)


def run_all(
    phases: Sequence[Phase], prepared: Prepared, lengths: Lengths, console: Console
) -> list[Result]:
    """Run the phases one after the other, with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    results = list[Result]()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(phases))
        for phase in phases:

            def tick(text: str, title: str = phase.title) -> None:
                progress.update(bar, description=f"{title}: {text}")

            try:
                results.append(run(phase, prepared, lengths, tick))
            except Exception as error:  # noqa: BLE001 -- it is shown, and the others are run
                results.append(Result(phase, error=f"{type(error).__name__}: {error}"))
            progress.console.print(" | ".join(row(results[-1])), markup=False, soft_wrap=True)
            progress.advance(bar)
    return results


def show(results: Sequence[Result]) -> None:
    """Print the table, and what did not hold."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    table = Table(*HEADS)
    for column in table.columns[1:-1]:
        column.justify = "right"
    for result in results:
        table.add_row(*row(result))
    console.print(table)
    for result in results:
        for fault in result.faults:
            console.print(f"{result.phase.name}: {fault}", markup=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="PHASE", help="a phase by its name; may be repeated"
    )
    parser.add_argument("--rate", type=int, default=Lengths().rate, help="due orders a second")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    return parser.parse_args()


def _chosen(only: list[str] | None) -> list[Phase]:
    chosen = [phase for phase in PHASES if not only or phase.name in only]
    if not chosen or (only and len(chosen) < len(set(only))):
        sys.exit(f"there are these phases: {', '.join(phase.name for phase in PHASES)}")
    return chosen


def _versions(prepared: Prepared) -> dict[str, str]:
    postgres = (prepared.folder / "PG_VERSION").read_text().strip()
    return {"Postgres": postgres, **{name: version(name) for name in _PACKAGES}}


if __name__ == "__main__":
    main()
