"""`status` and `status --watch`: the sentence at the top, and what is shown in an outage."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from sqlalchemy import literal, select

from sweeper.cli import output
from sweeper.cli.terminal import status_report
from sweeper.cli.terminal.status_report import Reading
from sweeper.exports import Figure
from sweeper.monitoring.sign import Sign
from sweeper.monitoring.status import Dead, Overdue, Server, Status
from sweeper.queue.inspect import Depth
from sweeper.queue.pause import Pause

SEEN = Sign(datetime(2026, 1, 31, 12, tzinfo=UTC), "vm1:1", 12.0, timedelta(minutes=3))
BEGUN = datetime(2026, 1, 31, 12, tzinfo=UTC)
GONE = replace(SEEN, seconds=7_500.0)
OWED = Figure("refunds_owed", "refunds owed", select(literal(4)))
QUIET = Overdue(0, 0.0, 0, None, None)


def readings() -> Iterator[Reading | str]:
    """Yield two statuses with an outage between them; the end of them ends the watch."""
    for ready in (7, None, 8):
        yield reading(ready) if ready else "database at db:5432: it is away"


def reading(ready: int = 0, rule: Overdue | None = None, sign: Sign = SEEN) -> Reading:
    """Return a status with so many ready messages."""
    status = Status(
        at="2026-01-31T12:00:00.000Z",
        queues={"jobs": Depth(ready, 0, 0, 1.0, None)},
        dead=Dead(0, 0.0),
        rules={"expire_dp": rule or Overdue(3, 60.0, 0, None, None)},
        database=Server("1.5.1", "18.0", 0.0),
        figures={"refunds_owed": 4.0},
    )
    return Reading(status, sign, (OWED,), ("expire_dp",), timedelta(seconds=5))


def shown(one: Reading, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of a status."""
    status_report.show(one)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_watching_the_status_continues_through_an_outage(
    is_terminal: bool,  # noqa: FBT001 -- a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(output, "out", Console(highlight=False, force_terminal=is_terminal))

    with pytest.raises(StopIteration):
        status_report.watch(readings().__next__, every=0.0)

    told = capsys.readouterr().out
    assert "expire_dp" in told
    assert "refunds owed: 4" in told
    if not is_terminal:  # a terminal shows the latest only
        assert "it is away" in told


@pytest.mark.parametrize(
    ("rule", "sign", "sentence"),
    [
        (QUIET, SEEN, "All is swept: nothing is overdue, and nothing is dead."),
        (replace(QUIET, overdue=3), SEEN, "3 being swept."),
        (replace(QUIET, overdue=3), GONE, "3 overdue, and no service runs that would sweep them."),
        (
            replace(QUIET, overdue=1_234, oldest_overdue_seconds=3_600.0),
            GONE,
            "1,234 overdue: the oldest is 1 h beyond its limit.",
        ),
    ],
)
def test_the_status_begins_with_one_sentence(
    rule: Overdue, sign: Sign, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence == shown(reading(rule=rule, sign=sign), capsys)[0]


def test_the_status_says_whether_a_service_runs(capsys: pytest.CaptureFixture[str]) -> None:
    running, gone = shown(reading(), capsys), shown(reading(sign=GONE), capsys)

    assert "A service runs on vm1: its last sign is 12 s old." in running
    assert "No service runs: the last sign of one is 2 h 5 min old." in gone
    assert not [line for line in running if "systemctl" in line]


def test_what_is_overdue_is_looked_at_by_its_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """A status that says to type `sweeper status` leads nowhere."""
    late = replace(QUIET, overdue=9, oldest_overdue_seconds=3_600.0)

    assert "type: sweeper overdue expire_dp" in shown(reading(rule=late), capsys)


def test_what_a_terminal_cannot_hold_is_counted() -> None:
    pauses = [Pause(f"rule_{n}", BEGUN, None, "sari", "x") for n in range(40)]
    crowded = replace(reading(), status=replace(reading().status, pauses=pauses))

    lines = status_report._fitted([*status_report._lines(crowded)], 23)

    assert (23, True) == (len(lines), lines[-1].plain.endswith("lines more: sweeper status"))
    assert all(line.plain for line in lines)
