"""The status for people: first what is the matter, then the numbers, in a terminal of 80 by 24."""

import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sweeper import remedies
from sweeper.cli import output
from sweeper.exports import Figure
from sweeper.humanize import age, capped, clocks, in_line, number, visible
from sweeper.monitoring.sign import Sign
from sweeper.monitoring.status import Overdue, Status
from sweeper.queue.hidden import MOST_HIDDEN
from sweeper.remedies import Remedy
from sweeper.rule import MOST_ANOMALIES
from sweeper.web.pages.summary import Summary, summarize

_STYLES = {"bad": "bold red", "warn": "bold yellow"}
_GAP = "  "
_NAME = 36  # characters of a name in a table


@dataclass(frozen=True, slots=True)
class Reading:
    """The status, and what its report needs besides.

    figures  -- those of job files
    on       -- the enabled rules
    max_skew -- beyond it no row is touched
    """

    status: Status
    sign: Sign
    figures: Sequence[Figure]
    on: Container[str]
    max_skew: timedelta

    @property
    def summary(self) -> Summary:
        """What is the matter, as the page says it."""
        return summarize(self.status, (), self.on, max_skew=self.max_skew)


Read = Callable[[], Reading | str]


def show(reading: Reading) -> None:
    """Print the status once."""
    for line in _lines(reading):
        output.out.print(line, soft_wrap=not output.out.is_terminal)


def watch(read: Read, every: float = 2.0) -> None:
    """Print the status again and again: in place on a terminal, otherwise one below the other.

    read  -- returns the status, or an error message; the last status then stays on the screen
    every -- seconds between two reads
    """
    if not output.out.is_terminal:
        while True:
            latest = read()
            output.out.print(latest) if isinstance(latest, str) else show(latest)
            time.sleep(every)
    console = Console(highlight=False, force_terminal=True)  # `out` would not crop to the screen
    footer = f"every {every:g} s; Ctrl-C ends it"
    lines: list[Text] = []
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            latest = read()
            if isinstance(latest, str):
                told = [Text(line, "bold red") for line in visible(latest).splitlines()]
            else:
                told, lines = [], [*_lines(latest)]
                footer = f"{_local(latest.status.at)}, every {every:g} s; Ctrl-C ends it"
            shown = _fitted([*told, *lines], console.height - 1)
            live.update(Group(*_cropped([*shown, Text(footer, "dim")])), refresh=True)
            time.sleep(every)


def _lines(reading: Reading) -> Iterator[Text]:
    now, summary = reading.status, reading.summary
    yield Text(_sentence(summary, reading), _STYLES.get(summary.tone, "bold green"))
    if summary.remedy:
        yield Text(f"type: {_command(summary.remedy, now)}", "cyan")
    if summary.others:
        yield Text(f"also: {'; '.join(other.title for other in summary.others)}", "yellow")
    yield Text(str(reading.sign), "" if reading.sign.runs else "yellow")
    if not reading.sign.runs:
        yield Text("type: sudo systemctl start sweeper; or, for one pass: sweeper sweep", "cyan")
    yield Text()
    yield from _grid(("queue", "ready", "in flight", "delayed", "oldest ready"), _queues(now))
    yield Text()
    columns = ("rule", "overdue", "the oldest", "anomalies", "last sweep")
    yield from _grid(columns, _rules(now))
    yield Text()
    yield from map(Text, map(in_line, _facts(reading)))


def _sentence(summary: Summary, reading: Reading) -> str:
    """Return the headline: the page's title, with what explains it."""
    overdue = sum(rule.overdue for rule in reading.status.rules.values())
    if summary.tone == "good" and overdue and not reading.sign.runs:
        return f"{number(overdue)} overdue, and no service runs that would sweep them."
    title, first = summary.title, next(iter(summary.lines), "")
    if not first or ":" in title:
        return f"{title}."
    return f"{title}: {first[:1].lower()}{first[1:]}"


def _command(remedy: Remedy, now: Status) -> str:
    """Return what to type next; most of the time the status is known by now."""
    if remedy is remedies.OVERDUE:
        late = max(now.rules, key=lambda name: now.rules[name].oldest_overdue_seconds)
        return f"sweeper overdue {late}"
    return "sweeper waiting" if remedy is remedies.HIDDEN_MESSAGES else remedy.command


def _queues(now: Status) -> Iterator[Sequence[str]]:
    for name, depth in now.queues.items():
        counts = map(number, (depth.ready, depth.in_flight, depth.delayed))
        yield name, *counts, age(depth.oldest_ready_seconds) if depth.ready else ""


def _rules(now: Status) -> Iterator[Sequence[str]]:
    for name, rule in now.rules.items():
        oldest = f"{age(rule.oldest_overdue_seconds)} late" if rule.overdue else ""
        anomalies = capped(rule.anomalies, MOST_ANOMALIES)
        yield name, number(rule.overdue), oldest, anomalies, _last_sweep(rule, now.at)


def _last_sweep(rule: Overdue, at: str) -> str:
    if rule.last_sweep_at is None:
        return "never"
    since = datetime.fromisoformat(at) - datetime.fromisoformat(rule.last_sweep_at)
    stopped = "" if rule.last_sweep_ok else ", too many due"
    return f"{age(since.total_seconds())} ago{stopped}"


def _facts(reading: Reading) -> Iterator[str]:
    now = reading.status
    dead, hidden = now.dead, now.hidden
    oldest = f", the oldest {age(dead.oldest_seconds)} old" if dead.count else ""
    yield f"dead letters: {number(dead.count)}{oldest}"
    if hidden.count:
        count = capped(hidden.count, MOST_HIDDEN)
        yield f"hidden messages, for which no scan waits: {count} ({', '.join(hidden.names)})"
    yield from map(str, now.pauses)
    figures = [one for one in reading.figures if one.name in now.figures]  # not of dormant rules
    if figures:
        yield "; ".join(f"{one.label}: {_shown(one, now)}" for one in figures)
    server = now.database
    yield f"Postgres {server.server}, pgmq {server.pgmq}; {clocks(server.skew_ms)}"


def _shown(figure: Figure, now: Status) -> str:
    shown = age if figure.name.endswith("_seconds") else figure.shown
    return shown(now.figures[figure.name])


def _grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[Text]:
    """Yield the lines of a table, whose numbers stand below each other."""
    cells = [[in_line(cell) for cell in row] for row in rows]
    names = [f"{row[0][: _NAME - 1]}…" if len(row[0]) > _NAME else row[0] for row in cells]
    table = [[name, *row[1:]] for name, row in zip(names, cells, strict=True)]
    widths = [max(map(len, column)) for column in zip(columns, *table, strict=True)]
    lefts = {0, len(columns) - 1}

    def joined(row: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if place in lefts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return _GAP.join(padded).rstrip()

    yield Text(joined(columns), "bold")
    yield Text(_GAP.join("-" * width for width in widths), "dim")
    yield from (Text(joined(row)) for row in table)


def _fitted(lines: Sequence[Text], most: int) -> list[Text]:
    """Return no more than *most* lines: without the empty ones, and then without the last."""
    full = [line for line in lines if line.plain] if len(lines) > most else [*lines]
    if len(full) <= most:
        return full
    left = len(full) - most + 1
    return [*full[: most - 1], Text(f"... {left} lines more: sweeper status", "dim")]


def _cropped(lines: Iterable[Text]) -> Iterator[Text]:
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
        yield line


def _local(at: str) -> str:
    """Return a time in ISO format as this host's clocks show it, with the zone."""
    return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M:%S %Z}"
