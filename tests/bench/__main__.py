"""The benchmark: the engine beside its floor, its peers, and a loop over single messages.

All cancel the same unpaid orders on the same server, in turn. Compare the ratios, because the rates
depend on the machine.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from sweeper import logs
from tests.bench.contenders import ALL, Contender
from tests.bench.machine import BUSY, load
from tests.bench.page import DOCS, PAGE, write
from tests.bench.server import Server
from tests.bench.suite import QUICK, Results, Size, Suite
from tests.bench.tables import tables

_WIDTH = 120  # of the tables in a file


def main() -> None:
    """Measure what the options say, show it, and write the page if asked."""
    options = _options()
    logs.configure("error", "json")
    console = Console(stderr=True)
    if load() > BUSY:
        console.print(f"[bold red]the machine is busy (load {load():.1f}): the figures will tell")
    size = QUICK if options.quick else Size()
    size = replace(size, orders=options.orders or size.orders, rounds=options.rounds or size.rounds)
    with TemporaryDirectory(prefix="sweeper-bench-") as name:
        server = Server(Path(name))
        try:
            results = Suite(server, size, console).measure(_chosen(options.only))
        finally:
            server.stop()
    show(results)
    if options.write:
        write(results)
        console.print(f"written: {(DOCS / PAGE).relative_to(Path.cwd())}, with its plots")


def show(results: Results) -> None:
    """Print the tables."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    for table in tables(results):
        shown = Table(*table.heads, title=table.title, title_justify="left")
        shown.columns[0].no_wrap = True
        for column in shown.columns[1:]:
            column.justify = "right"
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--orders", type=int, help="orders of each run; the slow get a quarter")
    parser.add_argument("--rounds", type=int, help="rounds, in each of which all take their turn")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="only contenders with this in their name; may be repeated",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one small round, to see that it works"
    )
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE} and its plots")
    return parser.parse_args()


def _chosen(only: list[str] | None) -> list[Contender]:
    chosen = [
        each for each in ALL if not only or any(name in each.name.casefold() for name in only)
    ]
    if not chosen:
        sys.exit(f"there is none of this name; there are: {', '.join(each.name for each in ALL)}")
    return chosen


if __name__ == "__main__":
    main()
