"""The circuit breaker: failures open it, the pauses grow, and one success closes it."""

import itertools

import pytest

from sweeper.outbound.circuit_breaker import (
    FAILURES_TO_OPEN,
    FIRST_PAUSE,
    LONGEST_COSTLY_PAUSE,
    LONGEST_PAUSE,
    CircuitBreaker,
)


def new() -> CircuitBreaker:
    """Return a closed breaker whose pauses are all of full length."""
    return CircuitBreaker(chance=lambda: 0.0)


def broken(breaker: CircuitBreaker, now: float, times: int = FAILURES_TO_OPEN) -> CircuitBreaker:
    for _ in range(times):
        breaker.failed(now, began=now)
    return breaker


def test_one_or_two_failures_do_not_open_the_breaker() -> None:
    breaker = broken(new(), 0.0, FAILURES_TO_OPEN - 1)

    assert (0.0, None) == (breaker.left(0.0), breaker.since)


def test_the_breaker_opens_before_a_job_has_used_up_its_executions() -> None:
    """Otherwise a notice that is alone in the queue would be dead-lettered in an outage."""
    assert FAILURES_TO_OPEN <= 3


def test_consecutive_failures_open_the_breaker() -> None:
    breaker = broken(new(), 7.0)

    assert (FIRST_PAUSE, 7.0) == (breaker.left(7.0), breaker.since)
    assert 0.0 == breaker.left(7.0 + FIRST_PAUSE)


def test_a_success_resets_the_count_of_failures() -> None:
    breaker = broken(new(), 0.0, FAILURES_TO_OPEN - 1)
    breaker.succeeded(0.0)

    assert 0.0 == broken(breaker, 0.0, FAILURES_TO_OPEN - 1).left(0.0)


def test_a_fatal_failure_opens_the_breaker_at_once() -> None:
    breaker = new()
    breaker.failed(0.0, began=0.0, fatal=True)

    assert FIRST_PAUSE == breaker.left(0.0)


def test_results_of_calls_made_before_the_outage_change_nothing() -> None:
    """Eight calls that fail together are one outage, and a late success does not end it."""
    breaker = broken(new(), 1.0, FAILURES_TO_OPEN + 8)
    breaker.succeeded(began=0.9)
    assert FIRST_PAUSE - 0.5 == breaker.left(1.5)

    late = 1.0 + FIRST_PAUSE
    breaker.failed(late, began=0.9)
    breaker.succeeded(began=0.9)
    assert (0.0, 1.0) == (breaker.left(late), breaker.since)


def test_a_success_that_began_before_a_failure_does_not_show_whose_it_was() -> None:
    """L5: the provider may have failed since, so the failures before it and after it are one."""
    breaker = new()
    streaks = []
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker.failed(2.0, began=1.9)
        streaks.append(breaker.streak)
        breaker.succeeded(began=1.0)
    assert (0.0, {None}) == (breaker.left(2.0), {streak.outage for streak in streaks})

    broken(breaker, 3.0)
    assert {True} == {streak.outage for streak in streaks}
    assert not any(streak.over for streak in streaks)


def test_a_success_that_began_after_a_failure_shows_that_it_was_the_jobs_own() -> None:
    breaker = broken(new(), 2.0, FAILURES_TO_OPEN - 1)
    streak = breaker.streak
    breaker.succeeded(began=2.0)

    assert (False, True) == (streak.outage, streak.over)
    assert breaker.streak is not streak


def test_the_pauses_grow_up_to_the_longest_one() -> None:
    breaker, now, pauses = broken(new(), 0.0), 0.0, []
    for _ in range(9):
        pauses.append(breaker.left(now))
        now += pauses[-1]
        breaker.failed(now, began=now)

    assert [1, 2, 4, 4, 4, 4, 4, 4, 4] == pauses
    assert LONGEST_PAUSE == breaker.left(now)


@pytest.mark.parametrize("kind", ["fatal", "costly"])
def test_the_pauses_after_costly_failures_grow_with_the_outage(kind: str) -> None:
    """L1: a call that is carried out unanswered comes twice; a refused one may lock the account."""
    breaker, now, pauses = broken(new(), 0.0), 0.0, []
    for _ in range(40):
        pauses.append(breaker.left(now))
        now += pauses[-1]
        breaker.failed(now, began=now, **{kind: True})

    assert [1, 2, 4, 4, 4, 4, 4.75] == pauses[:7]
    assert max(pauses) == LONGEST_COSTLY_PAUSE == breaker.left(now)
    assert all(b <= 1.25 * a for a, b in itertools.pairwise(pauses[2:]))


def test_a_pause_is_up_to_a_quarter_shorter_by_chance() -> None:
    """Several processes do not call a failing provider at the same time."""
    breaker = broken(CircuitBreaker(chance=lambda: 1.0), 0.0)

    assert 0.75 * FIRST_PAUSE == breaker.left(0.0)


def test_one_success_after_the_pause_closes_the_breaker() -> None:
    breaker = broken(new(), 0.0)
    breaker.failed(FIRST_PAUSE, began=FIRST_PAUSE)
    breaker.succeeded(100.0)

    assert (0.0, None) == (breaker.left(100.0), breaker.since)
    assert FIRST_PAUSE == broken(breaker, 100.0).left(100.0)


def test_the_breaker_holds_calls_for_the_longest_wait_asked_for() -> None:
    breaker = new()
    breaker.hold(0.0, 60.0)
    breaker.hold(1.0, 10.0)

    assert (60.0, 0.0) == (breaker.left(0.0), breaker.since)


def test_holding_calls_does_not_lengthen_the_next_pause() -> None:
    breaker = new()
    breaker.hold(0.0, 60.0)
    breaker.failed(60.0, began=60.0)

    assert FIRST_PAUSE == breaker.left(60.0)
