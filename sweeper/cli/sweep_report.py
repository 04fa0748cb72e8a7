"""What `sweep`, its dry run and `drain` print for people."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.app import App
from sweeper.batch import Tally
from sweeper.cli import output
from sweeper.cli.terminal.failures import MOST, Failure, Failures
from sweeper.humanize import age, capped, in_line, number
from sweeper.ledger import Outcome
from sweeper.monitoring.about.next_steps import in_shell
from sweeper.queue.pause import Pause
from sweeper.rule import MOST_ANOMALIES
from sweeper.sweep.dry_run import DryRunResult, ExpectedJob
from sweeper.sweep.runner import Report

_MAX_ROWS = 100  # a longer table is cut; nobody reads it to the end
_MAX_FAILURES = 5

_OUTCOMES = (Outcome.DONE, Outcome.SKIPPED, Outcome.RETRIED, Outcome.POSTPONED, Outcome.DEAD)


def all_of(app: App, report: Report, failures: Failures, limit: int, program: str) -> None:
    """Print the report of a sweep, who failed in it, and what the brake has stopped at *limit*."""
    sweep(report)
    failed(app, failures, program)
    stopped(report, limit, program)


def sweep(report: Report) -> None:
    """Print what a sweep found, and how many jobs had which outcome."""
    scans = report.rules.values()
    anomalies = [capped(one.anomalies, MOST_ANOMALIES) for one in scans]
    always: dict[str, list[Any]] = {
        "found": [one.found for one in scans],
        "would be queued" if report.dry_run else "enqueued": [one.enqueued for one in scans],
    }
    seldom: dict[str, list[Any]] = {
        "already queued": [one.already_queued for one in scans],
        "dead": [one.dead for one in scans],
        "stopped": [one.braked for one in scans],
        "anomalies": [None if count == "0" else count for count in anomalies],
    }
    columns = always | {name: counts for name, counts in seldom.items() if any(counts)}
    rows = list(zip(report.rules, *columns.values(), strict=True))
    title = "dry run: nothing was changed" if report.dry_run else "sweep"
    output.table(title, ("rule", *columns), rows)
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


def stopped(report: Report, limit: int, program: str) -> None:
    """Tell which rules the brake has stopped at *limit*, and the lines to type to go on."""
    held = {name: scan.found for name, scan in report.rules.items() if scan.braked}
    if not held:
        return
    names, most = " ".join(map(shlex.quote, held)), max(held.values())
    counts = ", ".join(f"{name} finds {number(found)}" for name, found in held.items())
    output.err.print(
        f"stopped: too many orders due (limit {number(limit)})\n"
        f"{counts}, and none of them was queued.",
        style="bold red",
        markup=False,
    )
    output.err.print(
        f"Look at them first, this changes nothing:\n"
        f"  {program} sweep {names} --dry-run --max {most}\n"
        f"If it is right that so many are due:\n"
        f"  {program} sweep {names} --max {most}",
        markup=False,
        soft_wrap=True,
    )


def failed(app: App, failures: Failures, program: str) -> None:
    """Tell which jobs failed, why, when they run again, and what a person may type."""
    waiting, dead = failures.waiting, failures.dead
    shown = (*waiting[:_MAX_FAILURES], *dead[:_MAX_FAILURES])
    if not shown:
        return
    with app.database.transaction() as tx:
        codes = app.catalog.codes.of(tx, [one.key for one in shown if one.key])
    if waiting:
        output.out.print("failed, will retry:", style="bold yellow")
    for one in waiting[:_MAX_FAILURES]:
        again = f"again in {age(one.again_in)}" if one.again_in >= 1 else "due again"
        output.entry(f"{_whose(one, codes)}: attempt {one.attempt}, {again}", one.error)
        if one.key:
            output.typed(f"{program} explain {in_shell(one.key)}")
    _cut(len(waiting), f"{program} waiting")
    if waiting:
        output.line("A running service tries again when it is time; without one, type then:")
        output.typed(f"{program} drain")
    if dead:
        output.out.print("dead; mend the cause, then retry:", style="bold red")
    for one in dead[:_MAX_FAILURES]:
        alike = f", and {one.alike} more like it" if one.alike else ""
        what = f"dead letter {one.letter}: {_whose(one, codes)}, {one.reason}{alike}"
        output.entry(what, one.error)
        output.typed(f"{program} dead show {one.letter}")
        output.typed(f"{program} dead retry {one.letter}")
    _cut(len(dead), f"{program} dead list")


def _whose(one: Failure, codes: Mapping[str, str]) -> str:
    """Return the type of a failed job, and whose it is, as people call it."""
    name = codes.get(one.key or "", one.key)
    return f"{one.type or 'an unreadable message'}{f' of {name}' if name else ''}"


def _cut(count: int, command: str) -> None:
    """Say how many failures are not shown, and what shows them."""
    if count > _MAX_FAILURES:
        output.line(f"... and {capped(count - _MAX_FAILURES, MOST - _MAX_FAILURES)} more:")
        output.typed(command)


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
    for name, texts in result.rendered.items():
        output.out.print(f"{name}: {len(texts)} texts were rendered; --json shows them")
    for fault in result.faults:
        output.err.print(in_line(f"cannot be sent: {fault}"), style="bold red")
    anomalies = [
        (name, result.codes.get(key), key, reason)
        for name, scan in result.rules.items()
        for key, reason in scan.named_anomalies
    ]
    _long("anomalies, left alone", ("rule", "code", "order", "because"), anomalies)


def _in_words(expected: ExpectedJob) -> str:
    what = expected.outcome.in_words
    return f"{what}: {expected.error}" if expected.error else what


def _long(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print the first rows of a table and how many more there are; nothing if it has no rows."""
    if rows:
        output.table(f"{title}: {len(rows)}", columns, rows[:_MAX_ROWS])
    if len(rows) > _MAX_ROWS:
        output.out.print(f"... and {len(rows) - _MAX_ROWS} more; --json names them all")


def tally(jobs: Tally, seconds: float) -> None:
    """Print how many jobs had which outcome, and how long they took."""
    counts = ((getattr(jobs, one.value), one.in_words) for one in _OUTCOMES)
    told = "; ".join(f"{number(count)} {words}" for count, words in counts if count)
    output.out.print(f"jobs: {told or 'none'}, in {seconds:.2f} s")
