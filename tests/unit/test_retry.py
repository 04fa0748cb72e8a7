"""Whether a failed job is retried or dead-lettered is a pure function of attempt and error."""

from datetime import timedelta

import pytest

from sweeper.errors import RejectedError, SweeperError
from sweeper.retry import Backoff, Dead, DeadReason, Retry, judge

BACKOFF = Backoff((timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)))


@pytest.mark.parametrize(
    ("attempt", "decision"),
    [
        (1, Retry(timedelta(seconds=5))),
        (2, Retry(timedelta(seconds=30))),
        (3, Retry(timedelta(minutes=5))),
        (4, Dead(DeadReason.EXHAUSTED)),
        (5, Dead(DeadReason.EXHAUSTED)),
    ],
)
def test_a_job_with_three_retries_is_executed_four_times(
    attempt: int, decision: Retry | Dead
) -> None:
    """L5: a failed job is retried after 5 s, 30 s and 5 min, and then it is dead."""
    actual = judge(attempt, RuntimeError("boom"), max_retries=3, backoff=BACKOFF)

    assert decision == actual


def test_a_job_with_two_retries_is_executed_three_times() -> None:
    decisions = [judge(n, ValueError(), max_retries=2, backoff=BACKOFF) for n in (1, 2, 3)]

    expected = [
        Retry(timedelta(seconds=5)),
        Retry(timedelta(seconds=30)),
        Dead(DeadReason.EXHAUSTED),
    ]
    assert expected == decisions


def test_a_job_without_retries_is_dead_after_its_first_error() -> None:
    actual = judge(1, RuntimeError(), max_retries=0, backoff=BACKOFF)

    assert Dead(DeadReason.EXHAUSTED) == actual


def test_retries_beyond_the_list_of_delays_use_the_last_delay() -> None:
    actual = judge(90, RuntimeError(), max_retries=100, backoff=BACKOFF)

    assert Retry(timedelta(minutes=5)) == actual


@pytest.mark.parametrize("attempt", [1, 3, 4])
def test_a_rejected_job_is_dead_at_once(attempt: int) -> None:
    actual = judge(attempt, RejectedError("no such text"), max_retries=3, backoff=BACKOFF)

    assert Dead(DeadReason.REJECTED) == actual


def test_other_errors_of_the_sweeper_are_retried() -> None:
    actual = judge(1, SweeperError("boom"), max_retries=3, backoff=BACKOFF)

    assert Retry(timedelta(seconds=5)) == actual


@pytest.mark.parametrize(
    ("jitter", "chance", "seconds"),
    [(0.0, 1.0, 30.0), (0.5, 0.0, 30.0), (0.5, 0.5, 37.5), (0.5, 1.0, 45.0), (1.0, 1.0, 60.0)],
)
def test_jitter_lengthens_the_delay_by_up_to_its_share(
    jitter: float, chance: float, seconds: float
) -> None:
    actual = Backoff(BACKOFF.delays, jitter).after(2, chance=lambda: chance)

    assert timedelta(seconds=seconds) == actual


def test_without_jitter_the_delay_is_exact() -> None:
    assert {timedelta(seconds=5)} == {BACKOFF.after(1) for _ in range(50)}


def test_the_dead_letter_reasons_are_a_contract() -> None:
    """The command line, the log and the dead letters use these spellings."""
    assert {"exhausted", "invalid", "unknown_type", "crashed", "rejected"} == set(DeadReason)
