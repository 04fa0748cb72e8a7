"""The summary on the dashboard: what asks for a person, the worst first, and a few numbers."""

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, NamedTuple
from urllib.parse import quote

from sweeper import remedies
from sweeper.exports import Figure
from sweeper.humanize import age, capped, number
from sweeper.monitoring.status import Overdue, Status
from sweeper.queue.hidden import MOST_HIDDEN
from sweeper.remedies import Remedy

Tone = Literal["", "quiet", "good", "warn", "bad"]

_BY_HAND = ("Preview a sweep", "#act")

_LATE = 300.0
"""Seconds beyond its limit after which an overdue row is reported as a problem."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One thing that asks for a person, or that all is well.

    title   -- says it in a few words; lines explain it
    remedy  -- the command to type, and where the runbook says more
    way     -- what a link to the page with its act says, and the address
    others  -- what else asks for a person, the worst first
    """

    tone: Tone
    title: str
    lines: Sequence[str] = ()
    remedy: Remedy | None = None
    way: tuple[str, str] | None = None
    others: Sequence["Summary"] = ()

    @property
    def asks_for_a_sweep(self) -> bool:
        """Whether a person is asked for a sweep by hand, so that its form is open."""
        return any(each.way == _BY_HAND for each in (self, *self.others))


class Number(NamedTuple):
    """A number with its label, shown below the summary."""

    label: str
    value: str
    tone: Tone = ""


def summarize(
    status: Status | None,
    reasons: Sequence[str],
    on: Container[str],
    blocked: Collection[str] = (),
    max_skew: timedelta = timedelta.max,
) -> Summary:
    """Return the summary: the worst problem, with the others, or that all is well.

    status   -- None while the database cannot be read
    reasons  -- why the service is not ready
    on       -- the enabled rules; what other rules find is not reported as a problem
    blocked  -- the job types whose provider refuses our calls
    max_skew -- beyond it no order is touched, on which side of the database's clock ours may be
    """
    if status is None:
        lines = ("Nothing is lost: what is due is found again as soon as it answers.", *reasons)
        return Summary("bad", "The database does not answer", lines, remedies.DATABASE_AWAY)
    rules = {name: rule for name, rule in status.rules.items() if name in on}
    off = _clock(timedelta(milliseconds=status.database.skew_ms), max_skew)
    problems = [*off, *_problems(rules, status, reasons, blocked)]
    first, *others = problems or [_all_well(rules)]
    return replace(first, others=others)


def numbers(status: Status, figures: Iterable[Figure]) -> list[Number]:
    """Return the most important numbers, with those that job files export."""
    depths = status.queues.values()
    return [
        _number("overdue", _overdue(status.rules), "warn"),
        _number("waiting", sum(depth.ready + depth.delayed for depth in depths)),
        _number("in flight", sum(depth.in_flight for depth in depths)),
        _number("dead letters", status.dead.count, "bad"),
        *(_figure(one, status.figures[one.name]) for one in figures if one.name in status.figures),
    ]


def _clock(skew: timedelta, allowed: timedelta) -> Iterator[Summary]:
    """Yield that the clocks differ too much, before what follows from it."""
    if abs(skew) > allowed:
        side = "ahead of" if skew > timedelta(0) else "behind"
        what = f"This host is {age(abs(skew).total_seconds())} {side} the database."
        lines = (what, "No order is touched until their clocks agree.")
        yield Summary("bad", "The clock is off", lines, remedies.CLOCK_SKEWED)


def _problems(
    rules: Mapping[str, Overdue],
    status: Status,
    reasons: Sequence[str],
    blocked: Collection[str],
) -> Iterator[Summary]:
    """Yield the problems, the worst first."""
    dead, hidden = status.dead.count, status.hidden
    lines: Sequence[str]
    if reasons:
        yield Summary("bad", "The sweeper does not work", reasons, remedies.NOT_READY)
    if status.pauses:
        rest = "What is due waits meanwhile."
        title = f"Paused: {', '.join(pause.target for pause in status.pauses)}"
        yield Summary("warn", title, (*map(str, status.pauses), rest), remedies.PAUSED)
    held = [name for name, rule in rules.items() if rule.last_sweep_ok is False]
    if held:
        rest = "Preview a sweep, and if it is right that so many are due, allow more."
        lines = (f"{', '.join(held)}: too many are due.", rest)
        yield Summary("bad", "Stopped: too many orders due", lines, remedies.BRAKE_HELD, _BY_HAND)
    if blocked:
        lines = (f"{', '.join(blocked)}: its jobs wait, and none is lost.",)
        yield Summary("bad", "The provider is blocked", lines, remedies.PROVIDER_BLOCKED)
    late = max(rules, key=lambda name: rules[name].oldest_overdue_seconds, default="")
    oldest = rules[late].oldest_overdue_seconds if late else 0.0
    if oldest > _LATE:
        title = f"{number(_overdue(rules))} overdue"
        lines = (f"The oldest is {age(oldest)} beyond its limit.",)
        way = ("See all of them", f"/overdue?rule={quote(late)}")
        yield Summary("bad", title, lines, remedies.OVERDUE, way)
    if dead:
        title = f"{number(dead)} dead {'letter' if dead == 1 else 'letters'}"
        lines = ("Mend the cause, then retry; or let them go.",)
        way = ("Look, then retry or drop them", "/dead")
        yield Summary("warn", title, lines, remedies.DEAD_LETTERS, way)
    if hidden.count:
        what = "hidden message" if hidden.count == 1 else "hidden messages"
        title = f"{capped(hidden.count, MOST_HIDDEN)} {what}"
        lines = ("They become visible too late, and no scan waits for them.", *hidden.names)
        way = ("See what waits", "/waiting")
        yield Summary("warn", title, lines, remedies.HIDDEN_MESSAGES, way)


def _all_well(rules: Mapping[str, Overdue]) -> Summary:
    if overdue := _overdue(rules):
        return Summary("good", f"{number(overdue)} being swept")
    return Summary("good", "All is swept", ("Nothing is overdue, and nothing is dead.",))


def _overdue(rules: Mapping[str, Overdue]) -> int:
    return sum(rule.overdue for rule in rules.values())


def _number(label: str, count: int, tone: Tone = "") -> Number:
    return Number(label, number(count), tone if count else "quiet")


def _figure(figure: Figure, value: float) -> Number:
    shown = age if figure.name.endswith("_seconds") else figure.shown
    return Number(figure.label, shown(value), "" if value else "quiet")
