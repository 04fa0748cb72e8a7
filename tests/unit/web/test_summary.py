"""The page's summary: a title and lines that report problems, the worst first."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import literal, select

from sweeper import remedies
from sweeper.exports import Figure
from sweeper.monitoring.status import Dead, Overdue, Server, Status
from sweeper.queue.hidden import Hidden
from sweeper.queue.inspect import Depth
from sweeper.queue.pause import Pause
from sweeper.remedies import RUNBOOK, Remedy
from sweeper.web.pages.summary import Number, numbers, summarize
from tests.support.paths import ROOT

QUIET = Overdue(0, 0.0, 0, "2026-01-31T12:00:00.000Z", last_sweep_ok=True)
LATE = replace(QUIET, overdue=1_234, oldest_overdue_seconds=3_600.0)
HELD = replace(QUIET, overdue=2_000, oldest_overdue_seconds=60.0, last_sweep_ok=False)
WELL = Status(
    at="2026-01-31T12:00:00.000Z",
    queues={"jobs": Depth(2, 3, 4, 0.0, None)},
    dead=Dead(0, 0.0),
    rules={"expire_dp": QUIET, "auto_refund": QUIET},
    database=Server("1.5.1", "18.0", 0.0),
    figures={"refunds_owed": 7.0, "oldest_seconds": 0.0},
)
SWEPT = replace(WELL, rules={"expire_dp": replace(QUIET, overdue=3)})
ON = ("expire_dp", "auto_refund")


def with_rule(rule: Overdue, dead: int = 0) -> Status:
    """Return the status of a healthy service with this rule and this number of dead letters."""
    return replace(WELL, rules={**WELL.rules, "expire_dp": rule}, dead=Dead(dead, 1.0))


@pytest.mark.parametrize(
    ("status", "tone", "title"),
    [
        (None, "bad", "The database does not answer"),
        (WELL, "good", "All is swept"),
        (with_rule(replace(QUIET, overdue=3)), "good", "3 being swept"),
        (with_rule(QUIET, dead=1), "warn", "1 dead letter"),
        (with_rule(QUIET, dead=2), "warn", "2 dead letters"),
        (replace(WELL, hidden=Hidden(3, {"jobs": [7, 8, 9]})), "warn", "3 hidden messages"),
        (with_rule(LATE, dead=2), "bad", "1,234 overdue"),
        (with_rule(HELD, dead=2), "bad", "Stopped: too many orders due"),
    ],
)
def test_the_summary_reports_the_worst_problem_first(
    status: Status | None, tone: str, title: str
) -> None:
    summary = summarize(status, [], ON)

    assert (tone, title) == (summary.tone, summary.title)


def test_a_service_that_does_not_work_is_the_worst_problem() -> None:
    summary = summarize(with_rule(LATE, dead=1), ["the queues were never read"], ON)

    assert "The sweeper does not work" == summary.title
    assert ["the queues were never read"] == summary.lines
    assert [("1,234 overdue", "/overdue?rule=expire_dp"), ("1 dead letter", "/dead")] == [
        (other.title, other.way and other.way[1]) for other in summary.others
    ]


def test_a_provider_that_refuses_our_calls_is_a_problem() -> None:
    """Nothing is overdue then, and people are not told."""
    summary = summarize(WELL, [], ON, ["SEND"])

    assert ("bad", "The provider is blocked") == (summary.tone, summary.title)
    assert remedies.PROVIDER_BLOCKED == summary.remedy


def test_a_clock_that_is_off_is_a_problem() -> None:
    """No order is touched then, while the service is still ready, and nothing may be overdue."""
    ahead = replace(WELL, database=Server("1.5.1", "18.0", 60_000.0))

    summary = summarize(ahead, [], ON, max_skew=timedelta(seconds=5))

    assert ("bad", "The clock is off") == (summary.tone, summary.title)
    assert "1 min ahead of the database" in summary.lines[0]
    assert remedies.CLOCK_SKEWED == summary.remedy
    assert 'on the page "The clock is off"' in (ROOT / RUNBOOK).read_text("utf-8")
    assert "All is swept" == summarize(ahead, [], ON, max_skew=timedelta(minutes=2)).title


PAUSE = Pause("expire_dp", datetime(2026, 1, 31, tzinfo=UTC), None, "ann", "a look")


@pytest.mark.parametrize(
    ("status", "reasons", "remedy"),
    [
        (None, [], remedies.DATABASE_AWAY),
        (WELL, ["the queues were never read"], remedies.NOT_READY),
        (replace(WELL, pauses=(PAUSE,)), [], remedies.PAUSED),
        (with_rule(HELD), [], remedies.BRAKE_HELD),
        (with_rule(LATE), [], remedies.OVERDUE),
        (with_rule(QUIET, dead=1), [], remedies.DEAD_LETTERS),
        (replace(WELL, hidden=Hidden(1, {"jobs": [7]})), [], remedies.HIDDEN_MESSAGES),
    ],
)
def test_every_problem_has_a_remedy_and_the_runbook_its_words(
    status: Status | None, reasons: list[str], remedy: Remedy
) -> None:
    summary = summarize(status, reasons, ON)

    assert remedy == summary.remedy
    words = re.sub(r"^[\d,]+ ", "", summary.title.partition(":")[0]).removesuffix("s")
    assert words in (ROOT / RUNBOOK).read_text("utf-8")


def test_what_is_well_needs_no_remedy() -> None:
    assert (None, None) == (summarize(WELL, [], ON).remedy, summarize(SWEPT, [], ON).remedy)


def test_a_disabled_rule_causes_no_warning() -> None:
    assert "All is swept" == summarize(with_rule(HELD), [], ["auto_refund"]).title


def test_the_numbers_cover_all_queues_and_the_job_files_figures() -> None:
    figures = (
        Figure("refunds_owed", "refunds owed", select(literal(7))),
        Figure("oldest_seconds", "oldest refund", select(literal(0))),
    )

    assert [
        Number("overdue", "1,234", "warn"),
        Number("waiting", "6"),
        Number("in flight", "3"),
        Number("dead letters", "0", "quiet"),
        Number("refunds owed", "7"),
        Number("oldest refund", "0 s", "quiet"),
    ] == numbers(with_rule(LATE), figures)
