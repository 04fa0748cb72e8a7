"""The history: how things went in the last hour, day or month, as series for pictures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import func, select

from sweeper.exports import Figure
from sweeper.humanize import age, number
from sweeper.monitoring.history_writer import minutes
from sweeper.monitoring.span import HISTORY, HOUR, MINUTE, Span, floor, merged, quantile
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import avoid


class Period(StrEnum):
    """How far back one looks."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    @property
    def length(self) -> timedelta:
        """How long it is; a month has thirty days."""
        return {"hour": HOUR, "day": 24 * HOUR, "month": 720 * HOUR}[self]

    @property
    def step(self) -> timedelta:
        """How much of it one point stands for."""
        return {"hour": MINUTE, "day": 15 * MINUTE, "month": 4 * HOUR}[self]


class Point(NamedTuple):
    """The value of the step that begins at *at*; None where it is not known."""

    at: datetime
    value: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a picture.

    name, label -- for programs, and for people
    unit        -- jobs, rows, letters, seconds, jobs per minute, or empty
    picture     -- the title of the picture in which it is drawn
    shown       -- formats a value for people
    """

    name: str
    label: str
    unit: str
    picture: str
    points: Sequence[Point]
    shown: Callable[[float], str] = number

    @property
    def known(self) -> list[float]:
        """The values that are known."""
        return [point.value for point in self.points if point.value is not None]


@dataclass(frozen=True, slots=True)
class History:
    """The series of one period, all with the same steps from *since* until *until*."""

    period: Period
    since: datetime
    until: datetime
    series: Sequence[Series]

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is known of the period."""
        return not any(one.known for one in self.series)

    @property
    def pictures(self) -> dict[str, list[Series]]:
        """The series by picture."""
        found: dict[str, list[Series]] = {}
        for one in self.series:
            found.setdefault(one.picture, []).append(one)
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the document that `history --json` prints."""
        return {
            "period": self.period,
            "since": iso(self.since),
            "until": iso(self.until),
            "step_seconds": round(self.period.step.total_seconds()),
            "series": [
                {
                    "name": one.name,
                    "label": one.label,
                    "unit": one.unit,
                    "points": [{"at": iso(at), "value": value} for at, value in one.points],
                }
                for one in self.series
            ],
        }


@dataclass(frozen=True, slots=True)
class HistoryReader:
    """Reads the history; figures are those that job files export."""

    database: Database
    figures: Sequence[Figure]

    def read(self, period: Period, now: datetime) -> History:
        """Return the history until the last whole minute, or for a month the last whole hour.

        It reads 1,440 rows for a day, and for a month 720 and the minutes of no whole hour yet.
        """
        until = floor(now, HOUR if period is Period.MONTH else MINUTE)
        since = until - period.length
        steps = _steps(self._spans(period, since, until), since, until, period.step)
        return History(period, since, until, [*_series(steps), *_of(self.figures, steps)])

    def _spans(self, period: Period, since: datetime, until: datetime) -> list[Span]:
        with self.database.transaction() as tx:
            avoid(tx, "seqscan", "sort")
            if period is not Period.MONTH:
                return minutes(tx, since, until)
            c = HISTORY.c
            latest = select(func.max(c.at)).where(c.seconds == HOUR.total_seconds())
            at = tx.execute(latest).scalar()
            hours = minutes(tx, since, until, seconds=round(HOUR.total_seconds()))
            return [*hours, *minutes(tx, max(since, at + HOUR) if at else since, until)]


def _steps(spans: Iterable[Span], since: datetime, until: datetime, step: timedelta) -> list[Span]:
    """Merge *spans* into one for each *step*."""
    within: dict[datetime, list[Span]] = {}
    at = since
    while at < until:
        within[at] = []
        at += step
    for span in spans:
        within[since + (span.at - since) // step * step].append(span)
    return [merged(found, at, step) for at, found in within.items()]


def _series(steps: Sequence[Span]) -> list[Series]:
    """Return the engine's own series."""
    line = partial(_line, steps)
    late, waited = "Oldest overdue row, beyond its limit", "From the scan until it is done"
    return [
        line("overdue", "overdue", "rows", "Overdue rows", _get("overdue")),
        line(
            "oldest_overdue_seconds",
            "oldest overdue",
            "seconds",
            late,
            _get("oldest_overdue_seconds"),
        ),
        line("found", "found by a scan", "rows", "Found by one scan, at most", _get("found")),
        line("enqueued", "sent by sweeps", "jobs", "Jobs of sweeps", _get("enqueued")),
        line("done", "done of these", "jobs", "Jobs of sweeps", _get("done")),
        line("waited_p50_seconds", "waited, half", "seconds", waited, _waited(0.5)),
        line("waited_p95_seconds", "waited, 95 %", "seconds", waited, _waited(0.95)),
        line("retries", "retries", "executions", "Retries and deaths", _get("retries")),
        line("deaths", "deaths", "jobs", "Retries and deaths", _get("deaths")),
        line(
            "outbound_per_minute",
            "outbound a minute",
            "jobs per minute",
            "Outbound jobs a minute",
            _rate,
        ),
        line("waiting", "waiting in queues", "messages", "Waiting in the queues", _get("waiting")),
        line("dead", "dead letters", "letters", "Dead letters", _get("dead")),
    ]


def _of(figures: Sequence[Figure], steps: Sequence[Span]) -> list[Series]:
    """Return the series of the figures that job files export."""
    return [
        Series(
            figure.name,
            figure.label,
            "seconds" if figure.name.endswith("_seconds") else "",
            figure.label.capitalize(),
            [Point(step.at, (step.figures or {}).get(figure.name)) for step in steps],
            age if figure.name.endswith("_seconds") else figure.shown,
        )
        for figure in figures
    ]


def _line(  # noqa: PLR0917 -- the columns of one table
    steps: Sequence[Span],
    name: str,
    label: str,
    unit: str,
    picture: str,
    value: Callable[[Span], float | None],
) -> Series:
    shown = {"seconds": _length, "jobs per minute": _decimal}.get(unit, number)
    return Series(name, label, unit, picture, [Point(s.at, value(s)) for s in steps], shown)


def _get(name: str) -> Callable[[Span], float | None]:
    return lambda span: getattr(span, name)


def _waited(share: float) -> Callable[[Span], float | None]:
    return lambda span: quantile(span.waits, share)


def _rate(span: Span) -> float | None:
    return None if span.outbound is None else span.outbound / (span.seconds / 60)


def _length(seconds: float) -> str:
    """Format a length of time: with a decimal where it is only some seconds."""
    return f"{seconds:.1f} s" if 0 < seconds < 10 else age(seconds)  # noqa: PLR2004


def _decimal(value: float) -> str:
    """Format a rate: with a decimal only where it is small."""
    return f"{value:,.1f}" if 0 < value < 10 else number(value)  # noqa: PLR2004
