"""Plant faults one at a time, each in a copy of the tree, and table which test sees it."""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.mutants.areas import ALL
from tests.mutants.mutant import Mutant
from tests.mutants.page import PAGE, page, table
from tests.mutants.suite import Suite, suite
from tests.mutants.tree import Result
from tests.support.paths import ROOT

_WIDTH = 160  # of the table in a file
_SHOWN = 15  # last lines of pytest's output about a mutant that survived


def main() -> None:
    """Run what the options say; exit with 1 if a mutant survives unexplained, or is stale."""
    options = _options()
    chosen = _chosen(options.only)
    if options.list:
        lines = (f"{mutant.law:8} {mutant.file:34} {mutant.name}" for mutant in chosen)
        Console(soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)
        return
    if stale := [fault for mutant in chosen for fault in mutant.faults(ROOT)]:
        sys.exit("\n".join(stale))
    console = Console(stderr=True)
    with suite(options.jobs) as planted:
        results = _run(planted, chosen, console)
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table(results))
    wrong = [result for result in results if not result.is_well]
    for result in wrong:
        last = "\n".join(result.why.splitlines()[-_SHOWN:])
        console.print(f"\n{result.fate}: {result.mutant.name}\n{last}", markup=False)
    if wrong:
        sys.exit(1)
    if options.write:
        PAGE.write_text(page(results), "utf-8")
        console.print(f"written: {PAGE.relative_to(ROOT)}")


def _run(planted: Suite, mutants: Sequence[Mutant], console: Console) -> list[Result]:
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("their tests, on the unchanged tree", total=len(mutants))
        if fault := planted.fault_of_the_tests(mutants):
            sys.exit(f"without any fault, a test fails:\n{fault}")

        def ended(result: Result) -> None:
            progress.update(
                task, advance=1, description=f"{result.fate}: {result.mutant.name}", refresh=True
            )

        return planted.run(mutants, ended)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="only mutants with this in their name or file; may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="list them, and plant none")
    parser.add_argument("--jobs", type=int, default=2, help="so many at once (default: 2)")
    parser.add_argument(
        "--write", action="store_true", help="write docs/mutants.md; needs them all"
    )
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs all mutants: leave out --only")
    return options


def _chosen(only: list[str] | None) -> list[Mutant]:
    chosen = [
        mutant
        for mutant in ALL
        if not only or any(name in f"{mutant.name} {mutant.file}" for name in only)
    ]
    if not chosen:
        sys.exit("there is no such mutant; --list shows all")
    return chosen


if __name__ == "__main__":
    main()
