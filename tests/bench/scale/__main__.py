"""Benchmark: what scans, a backlog and readers cost where tables, queue and ledger are large.

`python -m tests.bench.scale` fills databases on a server of its own, which needs some 20 GB, and
takes half an hour. `--write` puts the tables into docs/scale.md.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Shown

from sweeper import logs
from tests.bench.machine import BUSY, load, machine
from tests.bench.page import DOCS, markdown
from tests.bench.scale.parts import QUICK, Size, backlog, readers, scans
from tests.bench.server import Server
from tests.bench.tables import Table

PAGE = DOCS / "scale.md"
PARTS = {"scans": (scans, 4), "backlog": (backlog, 1), "readers": (readers, 30)}


def main() -> None:
    """Measure what the options say, show it, and write it into the page if asked."""
    options = _options()
    logs.configure("error", "json", sys.stderr)
    console = Console(stderr=True)
    if load() > BUSY:
        console.print(f"[bold red]the machine is busy (load {load():.1f}): the figures will tell")
    size = QUICK if options.quick else Size()
    given = {name: value for name in _SIZES if (value := getattr(options, name))}
    size = replace(size, **given)
    with TemporaryDirectory(prefix="sweeper-scale-", dir=options.folder) as name:
        server = Server(Path(name))
        try:
            found = _measure(server, size, options.only or list(PARTS), console)
        finally:
            server.stop()
    for table in found.values():
        _show(table)
    if options.write:
        PAGE.write_text(written(PAGE.read_text("utf-8"), found), "utf-8")


def written(page: str, found: dict[str, Table]) -> str:
    """Return *page* with the tables *found* in place of those of the same names."""
    for name, table in found.items():
        begin, end = f"<!-- {name}: measured -->", f"<!-- {name}: end -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n\n{markdown(table)}\n{end}{after}"
    return page


_SIZES = ("orders", "queued", "backlog", "ended", "dead")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--folder", help="where the server is; the temporary folder by default")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/scale.md")
    for name in _SIZES:
        parser.add_argument(f"--{name}", type=int)
    return parser.parse_args()


def _measure(server: Server, size: Size, names: list[str], console: Console) -> dict[str, Table]:
    done = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*done, TextColumn("{task.description}"), console=console) as bar:
        task = bar.add_task("starting", total=sum(PARTS[name][1] for name in names))
        first = iter([True])

        def step(what: str) -> None:
            bar.update(task, description=what, advance=0 if next(first, False) else 1)

        found = {name: PARTS[name][0](server, size, step) for name in names}
        bar.update(task, completed=bar.tasks[0].total)
    rows = [[name, value] for name, value in machine().items()]
    return {**found, "machine": Table("Machine", ("what", "value"), rows, has_numbers=False)}


def _show(table: Table) -> None:
    shown = Shown(*table.heads, title=table.title, title_justify="left")
    for row in table.rows:
        shown.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(shown)


if __name__ == "__main__":
    main()
