"""The figures as tables: the same rows for the terminal and for the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.claims import claims
from tests.bench.contenders import FLOOR, LOOP, ONE
from tests.bench.suite import DELAYS, Results


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the heads of the columns, and the rows as they are shown, numbers flush right."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    has_numbers: bool = True


def tables(results: Results) -> Iterator[Table]:
    """Yield all tables that have rows."""
    for table in (_rates(results), _costs(results), _waits(results), _far(results), _held(results)):
        if table.rows:
            yield table


def _rates(results: Results) -> Table:
    floor, ours = results.rate(FLOOR.name), results.rate(ONE.name)
    rows = []
    for name, runs in results.runs.items():
        rates = sorted(run.rate for run in runs)
        rate = median(rates)
        rows.append(
            [
                name,
                f"{runs[0].orders:,}",
                f"{rate:,.0f}",
                f"{rates[0]:,.0f} to {rates[-1]:,.0f}",
                f"{median(run.work_rate for run in runs):,.0f}",
                f"{rate / floor:.2f}" if floor else "",
                f"{ours / rate:.1f}" if ours else "",
            ]
        )
    heads = ("contender", "orders", "orders/s", "spread", "work alone", "of the floor", "ours / it")
    return Table("End to end", heads, rows)


def _costs(results: Results) -> Table:
    rows = []
    for name, counts in results.counts.items():
        runs = results.runs[name]
        orders = runs[0].orders
        rows.append(
            [
                name,
                f"{counts.statements:.3f}",
                f"{counts.round_trips:.3f}",
                f"{median(run.commits for run in runs) / orders:.3f}",
                f"{median(run.wal for run in runs) / orders:,.0f}",
                f"{median(run.dead for run in runs) / orders:.1f}",
                f"{max(run.peak_mb for run in runs):.0f}",
            ]
        )
    heads = ("contender", "statements", "round trips", "commits", "WAL bytes", "dead rows", "MB")
    return Table("What an order costs", heads, rows)


def _waits(results: Results) -> Table:
    rows = [
        [
            name,
            f"{median(run.percentile(50) for run in runs):,.2f} s",
            f"{median(run.percentile(99) for run in runs):,.2f} s",
        ]
        for name, runs in results.runs.items()
    ]
    if results.steady:
        shown = [f"{seconds * 1000:,.0f} ms" for seconds in results.steady]
        rows.append(["`sweeper run`, 50 messages a second", *shown])
    return Table("From send to effect", ("contender", "p50", "p99"), rows)


def _far(results: Results) -> Table:
    rows = []
    for delay in DELAYS:
        loop = results.far_rate(delay, LOOP.name)
        for (each, name), runs in results.far.items():
            rate = results.far_rate(each, name)
            if each == delay and rate:
                rows.append(
                    [
                        f"{delay * 1000:.0f} ms",
                        name,
                        f"{runs[0].orders:,}",
                        f"{rate:,.1f}",
                        f"{rate / loop:,.0f}" if loop else "",
                        f"{sum(run.splits for run in runs)}",
                    ]
                )
    heads = ("each way", "contender", "orders", "orders/s", "of one at a time", "split batches")
    return Table("Far away", heads, rows)


def _held(results: Results) -> Table:
    rows = [
        [claim.what, f"{claim.wanted:g}", f"{claim.found:.2f}", "yes" if claim.holds else "no"]
        for claim in claims(results)
    ]
    return Table("What is promised", ("ratio", "at least", "measured", "held"), rows)
