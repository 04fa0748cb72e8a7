"""The comparison of two clocks, over a network that takes its time."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest

from sweeper.errors import ClockSkewedError
from sweeper.postgres.clock import agree

BEGAN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("database", "agrees"), [(-7, False), (-5, True), (0, True), (9, True), (15, True), (17, False)]
)
def test_what_a_round_trip_may_hide_is_no_skew(database: int, *, agrees: bool) -> None:
    """L4: read somewhere within ten seconds, the database's clock may be right; 5 s are allowed."""
    read_at = BEGAN + timedelta(seconds=database)
    ended, allowed = BEGAN + timedelta(seconds=10), timedelta(seconds=5)

    with nullcontext() if agrees else pytest.raises(ClockSkewedError):
        agree(BEGAN, read_at, ended, allowed)
