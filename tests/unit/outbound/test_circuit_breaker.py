"""An outage opens the breaker, growing pauses follow, and one call closes it."""

from sweeper.outbound.circuit_breaker import (
    FAILURES_TO_OPEN,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    CircuitBreaker,
)


def broken(breaker: CircuitBreaker, now: float, times: int = FAILURES_TO_OPEN) -> CircuitBreaker:
    for _ in range(times):
        breaker.failed(now)
    return breaker


def test_a_failure_or_two_are_no_outage() -> None:
    breaker = broken(CircuitBreaker(), 0.0, FAILURES_TO_OPEN - 1)

    assert (0.0, None) == (breaker.left(0.0), breaker.since)


def test_an_outage_is_noticed_before_a_job_has_used_up_its_executions() -> None:
    """Else a notice that is alone in the queue would die of it."""
    assert FAILURES_TO_OPEN <= 3


def test_failures_in_a_row_open_it() -> None:
    breaker = broken(CircuitBreaker(), 7.0)

    assert (FIRST_PAUSE, 7.0) == (breaker.left(7.0), breaker.since)
    assert 0.0 == breaker.left(7.0 + FIRST_PAUSE)


def test_a_success_between_them_begins_the_count_anew() -> None:
    breaker = broken(CircuitBreaker(), 0.0, FAILURES_TO_OPEN - 1)
    breaker.succeeded(0.0)

    assert 0.0 == broken(breaker, 0.0, FAILURES_TO_OPEN - 1).left(0.0)


def test_what_is_fatal_opens_it_at_once() -> None:
    breaker = CircuitBreaker()
    breaker.failed(0.0, fatal=True)

    assert FIRST_PAUSE == breaker.left(0.0)


def test_calls_that_were_under_way_change_nothing() -> None:
    """Eight calls fail together: that is one outage and not eight; and a late success no end."""
    breaker = broken(CircuitBreaker(), 0.0, FAILURES_TO_OPEN + 8)
    breaker.succeeded(0.1)

    assert FIRST_PAUSE - 1 == breaker.left(1.0)


def test_the_pauses_grow() -> None:
    breaker, now, pauses = broken(CircuitBreaker(), 0.0), 0.0, []
    for _ in range(9):
        pauses.append(breaker.left(now))
        now += pauses[-1]
        breaker.failed(now)

    assert [5, 10, 20, 40, 80, 160, 300, 300, 300] == pauses
    assert LONGEST_PAUSE == breaker.left(now)


def test_one_success_after_the_pause_closes_it() -> None:
    breaker = broken(CircuitBreaker(), 0.0)
    breaker.failed(FIRST_PAUSE)
    breaker.succeeded(100.0)

    assert (0.0, None) == (breaker.left(100.0), breaker.since)
    assert FIRST_PAUSE == broken(breaker, 100.0).left(100.0)


def test_it_holds_as_long_as_it_is_asked_to() -> None:
    breaker = CircuitBreaker()
    breaker.hold(0.0, 60.0)
    breaker.hold(1.0, 10.0)

    assert (60.0, 0.0) == (breaker.left(0.0), breaker.since)


def test_being_asked_to_wait_does_not_make_the_next_pause_longer() -> None:
    breaker = CircuitBreaker()
    breaker.hold(0.0, 60.0)
    breaker.failed(60.0)

    assert FIRST_PAUSE == breaker.left(60.0)
