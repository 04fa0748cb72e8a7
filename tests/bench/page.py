"""docs/benchmarks.md and its plots, written from the results."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.bench.contenders import ONE
from tests.bench.plot import Bar, bars
from tests.bench.suite import DELAYS, Results
from tests.bench.tables import Table, tables
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PAGE = "benchmarks.md"

_INTRODUCTION = """\
# Benchmarks

`make bench ARGS=--write` measures all of this side by side in one run, and writes this page. The
rates depend on the machine: compare the ratios.

Every run cancels the same unpaid orders on a new copy of one prepared database, and returns their
stock. It is timed from end to end: finding the orders and sending a job for each (by a scan, or by
the peer's own bulk call), and the work, until the last order is done; connecting is not timed. The
contenders take turns (rounds: {rounds}), and a figure is the median. The floor leaves the very rows
that the engine leaves (order, stock and its ledger, notice, outbound message, job log, sweep),
which the suite checks first. The peers and the loop do less: order and stock only. The slow ones
get a quarter of the orders; each peer has one process.
"""

_NOTES = {
    "End to end": """\
Work alone is without finding and sending. The spread is the slowest and the fastest run.
""",
    "What an order costs": """\
Statements and round trips are counted by a proxy between the two, begins, settings and commits too,
on {counted:,} orders, of which the slow ones get a quarter. Dead rows are updates and deletes,
which vacuum has to remove. MB is the peak memory of the largest process.
""",
    "From send to effect": """\
In the runs above everything is sent at once, so these are the times until half, and nearly all, of
the backlog was done, by the commits of the orders. The last row is the service at its defaults,
which polls, under a steady load.
""",
    "Far away": """\
Through a local proxy that delays all data, with one product shared by all orders; work alone. A
split batch is one that was halved because it failed.
""",
    "What is promised": """\
Ratios of this run; the 50 orders a second are the rate before the round trips were saved.
""",
}


def page(results: Results) -> str:
    """Return the text of the page."""
    parts = [_INTRODUCTION.format(rounds=results.size.rounds)]
    plots = {"End to end": "benchmarks-rates.svg", "Far away": "benchmarks-far.svg"}
    for table in tables(results):
        parts.append(f"## {table.title}\n")
        if table.title in plots:
            parts.append(f"![{table.title}, orders a second]({plots[table.title]})\n")
        parts.append(markdown(table))
        if note := _NOTES.get(table.title):
            parts.append(note.format(counted=results.size.counted))
    if ONE.name in results.runs:
        parts.append("## From the first fifth to the last\n")
        parts.append("![The rate in each fifth of the backlog](benchmarks-fifths.svg)\n")
    parts.append("## Settings\n")
    rows = [[each.name, f"{each.processes}", each.settings] for each in results.contenders]
    parts.append(
        markdown(Table("Settings", ("contender", "processes", "settings"), rows, has_numbers=False))
    )
    if results.missing:
        parts.append(f"Left out, because not installed: {', '.join(results.missing)}.\n")
    parts.append("## Machine and versions\n")
    about = [[name, value] for name, value in results.machine.items()]
    parts.append(markdown(Table("Machine", ("what", "value"), about, has_numbers=False)))
    return "\n".join(parts)


def plots(results: Results) -> dict[str, str]:
    """Return the plots, as SVG by file name."""
    ours = {each.name for each in results.contenders if each.is_ours}
    rates = [
        _bar(name, [run.rate for run in runs], is_ours=name in ours)
        for name, runs in results.runs.items()
    ]
    far = [
        _bar(
            f"{name}, {delay * 1000:.0f} ms", [run.work_rate for run in runs], is_ours=name in ours
        )
        for (delay, name), runs in sorted(results.far.items(), key=lambda item: item[0][0])
    ]
    parts = [_bar(f"fifth {n}", rates, is_ours=True) for n, rates in enumerate(_parts(results), 1)]
    ways = " and ".join(f"{delay * 1000:.0f}" for delay in DELAYS)
    return {
        "benchmarks-rates.svg": bars("Orders a second, end to end", rates),
        "benchmarks-far.svg": bars(f"Orders a second, {ways} ms each way", far),
        "benchmarks-fifths.svg": bars(
            f"Orders a second, {ONE.name}, by fifth of the backlog", parts
        ),
    }


def write(results: Results, folder: Path = DOCS) -> None:
    """Write the page and its plots into *folder*."""
    for name, text in {PAGE: page(results), **plots(results)}.items():
        (folder / name).write_text(text, "utf-8")


def _parts(results: Results) -> Iterator[tuple[float, ...]]:
    """Yield, for each fifth of the backlog, its rate in every round."""
    return zip(*(run.parts for run in results.runs.get(ONE.name, ())), strict=True)


def _bar(label: str, values: Sequence[float], *, is_ours: bool) -> Bar:
    return Bar(label, median(values), min(values), max(values), is_ours)


def markdown(table: Table) -> str:
    """Return *table* without its title."""
    alignment = "--:" if table.has_numbers else "---"
    lines = [table.heads, ["---", *(alignment for _ in table.heads[1:])], *table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
