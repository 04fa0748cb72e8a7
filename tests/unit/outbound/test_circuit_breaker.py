"""The circuit breaker: failures open it, the pauses grow, and one success closes it."""

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


def test_one_or_two_failures_do_not_open_the_breaker() -> None:
    breaker = broken(CircuitBreaker(), 0.0, FAILURES_TO_OPEN - 1)

    assert (0.0, None) == (breaker.left(0.0), breaker.since)


def test_the_breaker_opens_before_a_job_has_used_up_its_executions() -> None:
    """Otherwise a notice that is alone in the queue would be dead-lettered in an outage."""
    assert FAILURES_TO_OPEN <= 3


def test_consecutive_failures_open_the_breaker() -> None:
    breaker = broken(CircuitBreaker(), 7.0)

    assert (FIRST_PAUSE, 7.0) == (breaker.left(7.0), breaker.since)
    assert 0.0 == breaker.left(7.0 + FIRST_PAUSE)


def test_a_success_resets_the_count_of_failures() -> None:
    breaker = broken(CircuitBreaker(), 0.0, FAILURES_TO_OPEN - 1)
    breaker.succeeded(0.0)

    assert 0.0 == broken(breaker, 0.0, FAILURES_TO_OPEN - 1).left(0.0)


def test_a_fatal_failure_opens_the_breaker_at_once() -> None:
    breaker = CircuitBreaker()
    breaker.failed(0.0, fatal=True)

    assert FIRST_PAUSE == breaker.left(0.0)


def test_results_of_calls_made_before_the_outage_change_nothing() -> None:
    """Eight calls that fail together are one outage, and a late success does not end it."""
    breaker = broken(CircuitBreaker(), 0.0, FAILURES_TO_OPEN + 8)
    breaker.succeeded(0.1)

    assert FIRST_PAUSE - 1 == breaker.left(1.0)


def test_the_pauses_grow_up_to_the_longest_one() -> None:
    breaker, now, pauses = broken(CircuitBreaker(), 0.0), 0.0, []
    for _ in range(9):
        pauses.append(breaker.left(now))
        now += pauses[-1]
        breaker.failed(now)

    assert [5, 10, 20, 40, 80, 160, 300, 300, 300] == pauses
    assert LONGEST_PAUSE == breaker.left(now)


def test_one_success_after_the_pause_closes_the_breaker() -> None:
    breaker = broken(CircuitBreaker(), 0.0)
    breaker.failed(FIRST_PAUSE)
    breaker.succeeded(100.0)

    assert (0.0, None) == (breaker.left(100.0), breaker.since)
    assert FIRST_PAUSE == broken(breaker, 100.0).left(100.0)


def test_the_breaker_holds_calls_for_the_longest_wait_asked_for() -> None:
    breaker = CircuitBreaker()
    breaker.hold(0.0, 60.0)
    breaker.hold(1.0, 10.0)

    assert (60.0, 0.0) == (breaker.left(0.0), breaker.since)


def test_holding_calls_does_not_lengthen_the_next_pause() -> None:
    breaker = CircuitBreaker()
    breaker.hold(0.0, 60.0)
    breaker.failed(60.0)

    assert FIRST_PAUSE == breaker.left(60.0)
