"""The rate limiter: at most so many slots a second, spaced evenly, with none saved up."""

import math

import pytest

from sweeper.outbound.rate_limiter import RateLimiter


def taken(limiter: RateLimiter, now: float, count: int) -> list[float]:
    return [round(limiter.take(now), 6) for _ in range(count)]


def test_slots_are_spaced_evenly() -> None:
    assert [0.0, 0.1, 0.2, 0.3] == taken(RateLimiter(10), 100.0, 4)


def test_unused_slots_are_not_saved_up() -> None:
    limiter = RateLimiter(10)
    limiter.take(100.0)

    assert [0.0, 0.1, 0.2] == taken(limiter, 200.0, 3)


def test_a_late_caller_gets_the_next_slot_in_the_row() -> None:
    limiter = RateLimiter(10)
    taken(limiter, 100.0, 3)

    assert [0.25] == taken(limiter, 100.05, 1)


@pytest.mark.parametrize(("rate", "free"), [(10, 6), (200, 101), (2, 2), (1, 2), (0.1, 2)])
def test_slots_are_available_for_half_a_second_or_one_gap_ahead(rate: float, free: int) -> None:
    assert free == RateLimiter(rate).free(100.0, most=1_000)


def test_no_more_free_slots_are_reported_than_asked_for() -> None:
    assert (3, 0) == (RateLimiter(10).free(100.0, most=3), RateLimiter(10).free(100.0, most=0))


@pytest.mark.parametrize("rate", [0.1, 1, 3, 10, 200])
def test_a_slot_is_free_again_once_all_taken_slots_have_passed(rate: float) -> None:
    """Otherwise the outbound lane would stop when no call is in flight."""
    limiter, now = RateLimiter(rate), 100.0
    for _ in range(20):
        while limiter.free(now, most=1_000):
            last = limiter.take(now)
        now += last

        assert limiter.free(now, most=1_000) >= 1


@pytest.mark.parametrize("rate", [1, 10, 200])
def test_the_rate_is_reached_and_never_exceeded(rate: float) -> None:
    """DOMAIN 6: a caller that takes every free slot makes *rate* calls a second."""
    limiter, calls, now = RateLimiter(rate), list[float](), 0.0
    while now < 60:
        for _ in range(limiter.free(now, most=64)):
            calls.append(now + limiter.take(now))
        now += 0.05

    assert abs(sum(at < 60 for at in calls) - 60 * rate) <= 1
    assert max(sum(at <= other < at + 1 for other in calls) for at in calls[:50]) <= rate + 1


def test_without_a_limit_every_slot_is_immediate() -> None:
    limiter = RateLimiter(math.inf)

    assert 500 == limiter.free(100.0, most=500)
    assert [0.0] * 500 == taken(limiter, 100.0, 500)
