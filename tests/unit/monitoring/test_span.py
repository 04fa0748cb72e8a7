"""Spans of the history: how they are merged, and what the waits in them say."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.monitoring.span import (
    GROWTH,
    HOUR,
    MINUTE,
    SHORTEST_WAIT,
    Span,
    floor,
    length_of,
    merged,
    quantile,
)
from tests.support.verbs import NOW

THREE = 3 * MINUTE


def counted(minute: int, done: int, **fields: object) -> Span:
    """Return a minute that was counted."""
    counts = {"enqueued": 0, "deaths": 0, "retries": 0, "outbound": 0, "waits": {}}
    return Span(60, NOW + minute * MINUTE, **(counts | {"done": done} | fields))  # type: ignore[arg-type]


def test_counts_are_added_and_of_samples_the_highest_is_taken() -> None:
    spans = [
        counted(0, 1, overdue=5, waits={"3": 1}, figures={"owed": 2.0}),
        counted(1, 2, overdue=9, waits={"3": 1, "4": 1}, figures={"owed": 1.0, "other": 0.0}),
        counted(2, 4, overdue=None),
    ]

    whole = merged(spans, NOW, THREE)

    assert (180, NOW, 7, 9) == (whole.seconds, whole.at, whole.done, whole.overdue)
    assert {"3": 2, "4": 1} == whole.waits
    assert {"owed": 2.0, "other": 0.0} == whole.figures


@pytest.mark.parametrize(
    ("known", "done"),
    [((0, 1, 2), 3), ((1, 2), 2), ((2,), 1), ((0, 1), None), ((0, 2), None), ((), None)],
)
def test_a_count_is_known_from_the_begin_of_the_history_on(
    known: tuple[int, ...], done: int | None
) -> None:
    whole = merged([counted(minute, 1) for minute in known], NOW, THREE)
    assert (done, done is not None) == (whole.done, whole.is_counted)


def test_samples_are_known_where_counts_are_not() -> None:
    whole = merged([Span(60, NOW, overdue=3)], NOW, HOUR)
    assert (3, None, None) == (whole.overdue, whole.done, whole.waits)


@given(st.lists(st.floats(0, 1e7), min_size=1), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_exact_to_a_tenth(waits: list[float], share: float) -> None:
    by_length: dict[str, int] = {}
    for wait in waits:
        length = str(length_of(wait))
        by_length[length] = by_length.get(length, 0) + 1

    found = quantile(by_length, share)

    exact = sorted(waits)[max(0, -(-round(share * 100) * len(waits) // 100) - 1)]
    assert found is not None
    slack = SHORTEST_WAIT + 1e-9  # for the rounding of the product
    assert exact / GROWTH - slack <= found <= exact * GROWTH + slack


@pytest.mark.parametrize("waits", [None, {}, {"3": 0}])
def test_without_a_job_no_wait_is_known(waits: dict[str, int] | None) -> None:
    assert quantile(waits, 0.5) is None


@given(st.timedeltas(timedelta(), timedelta(days=900)))
def test_a_step_begins_at_or_before_its_moments(past: timedelta) -> None:
    at = NOW - past
    assert floor(at, HOUR) <= at < floor(at, HOUR) + HOUR
    assert 0 == floor(at, HOUR).minute
