"""The page's summary: a title and lines that report problems, the worst first."""

from dataclasses import replace

import pytest
from sqlalchemy import literal, select

from sweeper.exports import Figure
from sweeper.monitoring.status import Dead, Overdue, Server, Status
from sweeper.queue.hidden import Hidden
from sweeper.queue.inspect import Depth
from sweeper.web.pages.summary import Number, numbers, summarize

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
        (with_rule(HELD, dead=2), "bad", "The brake holds"),
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
    assert ("the queues were never read", "Also: 1,234 overdue, 1 dead letter.") == summary.lines


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
        Number("in work", "3"),
        Number("dead letters", "0", "quiet"),
        Number("refunds owed", "7"),
        Number("oldest refund", "0 s", "quiet"),
    ] == numbers(with_rule(LATE), figures)
