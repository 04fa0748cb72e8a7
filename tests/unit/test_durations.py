"""Durations are parsed and formatted with their units, and a number without a unit is refused."""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from sweeper.durations import Duration, format_duration, parse


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("100ms", timedelta(milliseconds=100)),
        ("5s", timedelta(seconds=5)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(hours=24)),
        ("90d", timedelta(days=90)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1m500ms", timedelta(minutes=1, milliseconds=500)),
        ("1.5s", timedelta(milliseconds=1500)),
        ("0s", timedelta(0)),
        (" 5s ", timedelta(seconds=5)),
    ],
)
def test_a_duration_is_parsed(text: str, length: timedelta) -> None:
    assert length == parse(text)


def test_a_timedelta_is_returned_unchanged() -> None:
    assert timedelta(seconds=7) == parse(timedelta(seconds=7))


@pytest.mark.parametrize(
    "text",
    ["", "30", 30, 1.5, True, None, "s", "5 s", "-5s", "5S", "5sec", "1h30", "1e3s", "5s;", "P1D"],
)
def test_a_value_that_is_not_a_valid_duration_is_refused(text: object) -> None:
    """A number needs its unit, because 30 could be seconds or minutes."""
    with pytest.raises(ValueError, match='write it like "30s", "5m" or "24h"'):
        parse(text)


@pytest.mark.parametrize("text", ["99999999999d", "999999999d", "36500d1ms", "9" * 400 + "s"])
def test_a_duration_beyond_a_hundred_years_is_refused(text: str) -> None:
    """Added to a time, or doubled, it could be more than Python or Postgres can hold."""
    with pytest.raises(ValueError, match="too long for a duration"):
        parse(text)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(milliseconds=100), "100ms"),
        (timedelta(milliseconds=1500), "1500ms"),
        (timedelta(seconds=30), "30s"),
        (timedelta(seconds=1800), "30m"),
        (timedelta(minutes=90), "90m"),
        (timedelta(hours=24), "1d"),
        (timedelta(hours=25), "25h"),
        (timedelta(0), "0s"),
    ],
)
def test_a_duration_is_formatted_in_the_largest_unit_that_fits(
    length: timedelta, text: str
) -> None:
    assert text == format_duration(length)


@pytest.mark.parametrize("text", ["0s", "100ms", "0.5ms", "0.05ms", "1h30m", "24h", "1000d1ms"])
def test_a_formatted_duration_can_be_parsed_again(text: str) -> None:
    assert parse(text) == parse(format_duration(parse(text)))


def test_a_duration_setting_is_serialized_as_text() -> None:
    adapter = TypeAdapter(Duration)

    assert "5m" == adapter.dump_python(adapter.validate_python("300s"), mode="json")


def test_a_duration_setting_refuses_a_number_without_a_unit() -> None:
    with pytest.raises(ValidationError, match="30 is not a valid duration"):
        TypeAdapter(Duration).validate_python(30)
