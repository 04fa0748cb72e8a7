"""The format of ages and times on the page."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sweeper.humanize import age, at, clocks

_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)


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
    ("moment", "seconds", "text"),
    [
        (datetime(2026, 1, 31, 9, 5, 59, tzinfo=UTC), False, "2026-01-31 09:05"),
        ("2026-01-31T11:59:58.123Z", True, "2026-01-31 11:59:58"),
        (datetime(2026, 1, 31, 23, 5, tzinfo=timezone(timedelta(hours=7))), False,
         "2026-01-31 16:05"),
    ],
)  # fmt: skip
def test_a_time_has_one_format(moment: datetime | str, seconds: bool, text: str) -> None:  # noqa: FBT001 -- a parameter of the test
    assert text == at(moment, seconds=seconds)


@pytest.mark.parametrize("moment", [_FIRST, _LAST], ids=str)
@pytest.mark.parametrize("hours", [-12, 14])
def test_a_time_that_no_calendar_has_in_a_zone_is_shown_as_it_is(
    moment: datetime, hours: int
) -> None:
    assert at(moment, zone=timezone(timedelta(hours=hours)))


@pytest.mark.parametrize(
    ("skew", "text"),
    [
        (0.0, "clocks agree"),
        (-99.0, "clocks agree"),
        (2_500.0, "this host's clock is 2,500 ms ahead of the database's"),
        (-2_500.0, "this host's clock is 2,500 ms behind the database's"),
    ],
)
def test_clocks_agree_or_one_is_ahead(skew: float, text: str) -> None:
    assert text == clocks(skew)
