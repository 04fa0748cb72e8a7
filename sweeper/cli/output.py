"""What commands show to people: tables, and a progress bar where there is a terminal."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from sweeper.batch import Tally
from sweeper.humanize import age
from sweeper.monitoring.audit import Balance
from sweeper.monitoring.explain import Explanation
from sweeper.monitoring.status import Status
from sweeper.postgres.clock import iso
from sweeper.queue.dead_letter import DeadLetter
from sweeper.sweep.dry_run import DryRunResult, ExpectedJob
from sweeper.sweep.runner import Report

# A pipe has no width; what reads it may want every word.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)

_READ = 100  # rows of a table, before it stops to be read


def document(value: Any) -> None:
    """Print *value* as the one JSON document of a command."""
    print(json.dumps(value, indent=2, default=str))  # noqa: T201 -- stdout is the contract


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings."""
    out.print(_table(title, columns, rows))


@contextmanager
def progress(left: Callable[[], int]) -> Iterator[Callable[[Tally], None]]:
    """Show how far a drain has come, on a terminal only.

    left -- tells how many messages are still visible; asked once, after the first step
    """
    if not err.is_terminal:
        yield lambda _tally: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("jobs", total=None)

        def advance(tally: Tally) -> None:
            worked = tally.done + tally.skipped + tally.failed + tally.postponed
            if bar.tasks[0].total is None:
                bar.update(task, total=worked + left())
            bar.advance(task, worked)

        yield advance


def sweep(report: Report, limit: int) -> None:
    """Tell what a sweep did."""
    columns = ("rule", "found", "enqueued", "already queued", "dead", "braked", "anomalies")
    rows = [
        (name, f.found, f.enqueued, f.already_queued, f.dead, f.braked, f.anomalies)
        for name, f in report.rules.items()
    ]
    table("dry run: nothing was changed" if report.dry_run else "sweep", columns, rows)
    if report.options.planned is not None:
        planned = sum(map(len, report.options.planned.values()))
        gone = planned - sum(found.found for found in report.rules.values())
        out.print(f"{planned} orders were planned; {gone} are no longer due, and are left alone")
    if report.dry_run:
        rehearsed(report.dry_run)
    else:
        tally(report.jobs, report.seconds)
    if report.braked:
        err.print(
            f"The brake held: more than {limit} rows are due, and none of them was enqueued.\n"
            "Look with --dry-run --max N; if it is right, sweep again with --max N.",
            style="bold red",
        )


def rehearsed(told: DryRunResult) -> None:
    """Tell what a sweep would do: to which rows, and what else would change."""
    due = [
        (name, one.key, age(one.age.total_seconds()), one.reason, _in_words(one))
        for name, expected in told.due.items()
        for one in expected
    ]
    _long("due", ("rule", "order", "waits", "because", "would be"), due)
    for name, rows in told.effects.items():
        columns = [column.replace("_", " ") for column in rows[0]] if rows else []
        _long(name, columns, [list(row.values()) for row in rows])
    odd = [(name, *one) for name, found in told.rules.items() for one in found.named_anomalies]
    _long("anomalies, left alone", ("rule", "order", "because"), odd)


def _in_words(expected: ExpectedJob) -> str:
    return f"{expected.outcome}: {expected.error}" if expected.error else expected.outcome


def _long(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table of which a person reads the beginning, if it has rows."""
    if rows:
        table(f"{title}: {len(rows)}", columns, rows[:_READ])
    if len(rows) > _READ:
        out.print(f"... and {len(rows) - _READ} more; --json names them all")


def tally(jobs: Tally, seconds: float) -> None:
    """Tell how jobs fared."""
    out.print(
        f"jobs: {jobs.done} done, {jobs.skipped} skipped, {jobs.retried} retried, "
        f"{jobs.postponed} postponed, {jobs.dead} dead, in {seconds:.2f} s"
    )


def story(told: Explanation) -> None:
    """Tell the story of one order."""
    for name, verdict in told.rules.items():
        out.print(f"{name}: {'due' if verdict.due else 'not due'} at {told.at}", style="bold")
        for term, holds in verdict.terms.items():
            out.print(f"  {'yes' if holds else 'no ':3}  {term}", markup=False)
    if not told.rules:
        out.print(f"no rule knows {told.key}: the row is gone", markup=False)
    for fact in told.facts:
        out.print(f"{iso(fact.at)}  {fact.what}", markup=False)


def balance(found: Balance) -> None:
    """Tell whether the books balance."""
    out.print(f"{found.sweeps} scans sent {found.jobs} jobs; {found.waiting} of them still wait")
    if found.gaps:
        rows = [(gap.sweep_id, gap.rule, gap.key, gap.problem) for gap in found.gaps]
        table("the books do not balance", ("sweep", "rule", "key", "problem"), rows)
    else:
        out.print("the books balance: every job that does not wait ended exactly once")


def findings(found: Sequence[Any]) -> None:
    """Tell what the doctor found, the worst last, where eyes are."""
    marks = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "error": "[red]error  [/]"}
    for one in sorted(found, key=lambda finding: list(marks).index(finding.level)):
        out.print(f"{marks[one.level]}  {escape(one.about)}: {escape(one.what)}")
        if one.remedy:
            out.print(f"         {one.remedy}", markup=False)


def status(now: Status) -> None:
    """Tell the status."""
    out.print(_picture(now))


def watch(read: Callable[[], Status | str], every: float = 2.0) -> None:
    """Tell the status again and again: in place on a terminal, one below the other elsewhere.

    read  -- returns the status, or why there is none; the last one then stays to be seen
    every -- seconds
    """
    if not out.is_terminal:
        while True:
            told = read()
            out.print(told if isinstance(told, str) else _picture(told))
            time.sleep(every)
    picture: RenderableType = ""
    console = Console(highlight=False, force_terminal=True)  # `out` would not crop to the screen
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            told = read()
            if isinstance(told, str):
                live.update(Group(Text(told, "bold red"), picture), refresh=True)
            else:
                picture = _picture(told)
                live.update(picture, refresh=True)
            time.sleep(every)


def _picture(now: Status) -> RenderableType:
    queues = _table(
        f"queues at {now.at}",
        ("queue", "ready", "in flight", "delayed", "oldest ready"),
        [
            (name, d.ready, d.in_flight, d.delayed, f"{d.oldest_ready_seconds:.0f} s")
            for name, d in now.queues.items()
        ],
    )
    rules = _table(
        "rules",
        ("rule", "overdue", "oldest beyond its limit", "anomalies", "last sweep", "ok"),
        [
            (
                name,
                rule.overdue,
                f"{rule.oldest_overdue_seconds:.0f} s",
                rule.anomalies,
                rule.last_sweep_at or "never",
                {True: "yes", False: "brake held", None: ""}[rule.last_sweep_ok],
            )
            for name, rule in now.rules.items()
        ],
    )
    server = now.database
    lines = [
        f"dead letters: {now.dead.count}, the oldest for {now.dead.oldest_seconds:.0f} s",
        *(f"{name.replace('_', ' ')}: {value:,.0f}" for name, value in now.figures.items()),
        f"database: Postgres {server.server}, pgmq {server.pgmq}",
        f"clock: this host's is {server.skew_ms:+.0f} ms ahead of the database's",
    ]
    return Group(queues, rules, Text("\n".join(lines)))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    headings = (Column(name, overflow="fold") for name in columns)
    made = Table(*headings, title=title, title_justify="left")
    for row in rows:
        made.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    return made


def letters(found: Sequence[DeadLetter]) -> None:
    """List dead letters."""
    columns = ("id", "type", "key", "reason", "attempts", "died at", "fingerprint", "error")
    rows = [
        (m.msg_id, m.type, m.key, m.reason, m.attempts, m.died_at, m.fingerprint, m.error)
        for m in found
    ]
    table(f"{len(found)} dead letters", columns, rows)
