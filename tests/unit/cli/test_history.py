"""`sweeper history` on terminals of any width, with and without Unicode."""

import io
import sys
from datetime import timedelta

import pytest

from sweeper.cli.history import lines
from sweeper.cli.sparkline import ASCII, BLOCKS, can_draw_blocks, sparkline
from sweeper.humanize import age, number
from sweeper.monitoring.history import History, Period, Point, Series
from tests.support.verbs import HOUR, MINUTE, NOW


def history(*known: float | None, label: str = "overdue") -> History:
    """Return an hour with one series of seconds and one of numbers, which end with *known*."""
    values = [*[None] * (60 - len(known)), *known]
    points = [Point(NOW - HOUR + n * MINUTE, value) for n, value in enumerate(values)]
    series = [
        Series("overdue", label, "rows", "Overdue rows", points, number),
        Series("oldest", "oldest overdue", "seconds", "Oldest", points, age),
        Series("dead", "dead letters", "letters", "Dead", [Point(p.at, None) for p in points]),
    ]
    return History(Period.HOUR, NOW - HOUR, NOW, series)


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([], 10, ""),
        ([0, 0], 10, "▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 10, "▁▂▃▄▅▆▇█"),
        ([None, 7, None], 10, " █ "),
        ([0, 1, 1000], 10, "▁▂█"),
        ([0, 9, None, None, 1, 0], 3, "█ ▂"),
        ([5.0] * 7, 3, "███"),
        ([3, 3], 0, "█"),
        ([-1, 4], 2, "▁█"),
    ],
)
def test_a_bar_is_as_high_as_its_value(values: list[float | None], width: int, drawn: str) -> None:
    assert drawn == sparkline(values, width)
    assert len(drawn) <= max(1, width)


def test_ascii_has_a_character_for_each_block() -> None:
    assert len(ASCII) == len(BLOCKS)
    assert ASCII.isascii()
    assert "_*#" == sparkline([0, 6, 7], 3, ASCII)


@pytest.mark.parametrize(
    ("encoding", "can"), [("utf-8", True), ("ascii", False), ("latin-1", False)]
)
def test_blocks_are_for_terminals_that_can_show_them(
    encoding: str,
    can: bool,  # noqa: FBT001 -- a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert can is can_draw_blocks()


@pytest.mark.parametrize("width", [200, 120, 80, 62])
def test_lines_are_no_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, lines(history(*range(60)), width))) <= width


def test_at_80_columns_each_series_is_one_line() -> None:
    told = lines(history(0, 30, 60), 80)

    assert 5 == len(told)
    assert "the last hour to 2026-01-31 12:00 UTC, 1m a value" == told[0]
    assert ["lowest", "highest", "last"] == told[1].split()
    assert ["0", "60", "60"] == told[2].split()[-3:]
    assert told[3].endswith("0 s    1 min  1 min")
    assert told[4].endswith("-        -      -")


def test_in_a_narrow_terminal_the_bars_have_a_line_of_their_own() -> None:
    told = lines(history(0, 30, 60), 44)

    assert 7 == len(told)
    assert max(map(len, told[1:])) <= 44
    assert told[3].endswith("▁█"), "thirty and the nought before it share a character"


def test_a_value_alone_is_lowest_highest_and_last() -> None:
    (row,) = [line for line in lines(history(7), 100) if line.startswith("overdue")]
    assert ["7", "7", "7"] == row.split()[-3:]


@pytest.mark.parametrize("period", list(Period))
def test_a_period_is_a_whole_number_of_steps(period: Period) -> None:
    assert timedelta() == period.length % period.step
