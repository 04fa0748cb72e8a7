"""The format of ages and times on the page."""

from datetime import UTC, datetime

import pytest

from sweeper.humanize import age, at

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-1, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (75, "1 min 15 s"),
        (3_000, "50 min"),
        (3_003, "50 min"),
        (3_605, "1 h"),
        (11_520, "3 h 12 min"),
        (43_200, "12 h"),
        (187_200, "2 d 4 h"),
        (864_000, "10 d"),
    ],
)
def test_an_age_is_shown_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert text == age(seconds)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 31, 9, 5, tzinfo=UTC), "09:05:00"),
        ("2026-01-31T11:59:58.123Z", "11:59:58"),
        (datetime(2026, 1, 3, 23, 59, tzinfo=UTC), "3 Jan 23:59"),
    ],
)
def test_a_time_is_shown_with_its_date_when_it_is_not_today(
    moment: datetime | str, text: str
) -> None:
    assert text == at(moment, NOW)
