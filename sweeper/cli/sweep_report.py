"""What `sweep`, its dry run and `drain` print for people."""

from collections.abc import Sequence

from sweeper.batch import Tally
from sweeper.cli import output
from sweeper.humanize import age, capped, in_line
from sweeper.queue.pause import Pause
from sweeper.rule import MOST_ANOMALIES
from sweeper.sweep.dry_run import DryRunResult, ExpectedJob
from sweeper.sweep.runner import Report

_MAX_ROWS = 100  # a longer table is cut; nobody reads it to the end


def sweep(report: Report, limit: int) -> None:
    """Print the report of a sweep; *limit* is that of the brake."""
    columns = ("rule", "found", "enqueued", "already queued", "dead", "braked", "anomalies")
    rows = [
        (
            name,
            f.found,
            f.enqueued,
            f.already_queued,
            f.dead,
            f.braked,
            capped(f.anomalies, MOST_ANOMALIES),
        )
        for name, f in report.rules.items()
    ]
    output.table("dry run: nothing was changed" if report.dry_run else "sweep", columns, rows)
    if report.options.planned is not None:
        planned = sum(len(report.options.planned[name]) for name in report.rules)
        dropped = planned - sum(found.found for found in report.rules.values())
        output.out.print(
            f"{planned} orders were planned; {dropped} are no longer due, and are left alone"
        )
    if report.dry_run:
        dry_run(report.dry_run)
    else:
        tally(report.jobs, report.seconds)
    paused(report.pauses)
    if report.braked:
        output.err.print(
            f"The brake held: more than {limit} rows are due, and none of them was enqueued.\n"
            "Look with --dry-run --max N; if it is right, sweep again with --max N.",
            style="bold red",
        )


def paused(pauses: Sequence[Pause]) -> None:
    """Tell people which pauses were in force, so that nobody takes their effect for a calm."""
    for pause in pauses:
        output.err.print(in_line(f"{pause}"), style="bold yellow")


def dry_run(result: DryRunResult) -> None:
    """Print what a sweep would do: the due rows, the effects and the anomalies."""
    due = [
        (
            name,
            result.codes.get(one.key),
            one.key,
            age(one.age.total_seconds()),
            one.reason,
            _in_words(one),
        )
        for name, expected in result.due.items()
        for one in expected
    ]
    _long("due", ("rule", "code", "order", "waits", "because", "would be"), due)
    for name, rows in result.effects.items():
        columns = [column.replace("_", " ") for column in rows[0]] if rows else []
        _long(name, columns, [list(row.values()) for row in rows])
    anomalies = [
        (name, result.codes.get(key), key, reason)
        for name, scan in result.rules.items()
        for key, reason in scan.named_anomalies
    ]
    _long("anomalies, left alone", ("rule", "code", "order", "because"), anomalies)


def _in_words(expected: ExpectedJob) -> str:
    return f"{expected.outcome}: {expected.error}" if expected.error else expected.outcome


def _long(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print the first rows of a table and how many more there are; nothing if it has no rows."""
    if rows:
        output.table(f"{title}: {len(rows)}", columns, rows[:_MAX_ROWS])
    if len(rows) > _MAX_ROWS:
        output.out.print(f"... and {len(rows) - _MAX_ROWS} more; --json names them all")


def tally(jobs: Tally, seconds: float) -> None:
    """Print how many jobs had which outcome, and how long they took."""
    output.out.print(
        f"jobs: {jobs.done} done, {jobs.skipped} skipped, {jobs.retried} retried, "
        f"{jobs.postponed} postponed, {jobs.dead} dead, in {seconds:.2f} s"
    )
