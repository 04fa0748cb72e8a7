"""The fate of a job that raised is a pure function of the attempt and the error."""

from datetime import timedelta

import pytest

from sweeper.errors import RejectedError, SweeperError
from sweeper.retry import Backoff, Dead, DeadReason, Retry, judge

BACKOFF = Backoff((timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)))


@pytest.mark.parametrize(
    ("attempt", "fate"),
    [
        (1, Retry(timedelta(seconds=5))),
        (2, Retry(timedelta(seconds=30))),
        (3, Retry(timedelta(minutes=5))),
        (4, Dead(DeadReason.EXHAUSTED)),
        (5, Dead(DeadReason.EXHAUSTED)),
    ],
)
def test_three_retries_are_four_executions(attempt: int, fate: Retry | Dead) -> None:
    """L5: 5 s, 30 s, 5 min, then dead."""
    actual = judge(attempt, RuntimeError("boom"), max_retries=3, backoff=BACKOFF)

    assert fate == actual


def test_two_retries_are_three_executions() -> None:
    fates = [judge(n, ValueError(), max_retries=2, backoff=BACKOFF) for n in (1, 2, 3)]

    expected = [
        Retry(timedelta(seconds=5)),
        Retry(timedelta(seconds=30)),
        Dead(DeadReason.EXHAUSTED),
    ]
    assert expected == fates


def test_without_retries_the_first_error_is_the_last() -> None:
    actual = judge(1, RuntimeError(), max_retries=0, backoff=BACKOFF)

    assert Dead(DeadReason.EXHAUSTED) == actual


def test_past_the_last_delay_the_last_one_holds() -> None:
    actual = judge(90, RuntimeError(), max_retries=100, backoff=BACKOFF)

    assert Retry(timedelta(minutes=5)) == actual


@pytest.mark.parametrize("attempt", [1, 3, 4])
def test_what_the_handler_rejects_is_dead_at_once(attempt: int) -> None:
    actual = judge(attempt, RejectedError("no such text"), max_retries=3, backoff=BACKOFF)

    assert Dead(DeadReason.REJECTED) == actual


def test_other_errors_of_ours_are_retried_like_anybody_elses() -> None:
    actual = judge(1, SweeperError("boom"), max_retries=3, backoff=BACKOFF)

    assert Retry(timedelta(seconds=5)) == actual


@pytest.mark.parametrize(
    ("jitter", "chance", "seconds"),
    [(0.0, 1.0, 30.0), (0.5, 0.0, 30.0), (0.5, 0.5, 37.5), (0.5, 1.0, 45.0), (1.0, 1.0, 60.0)],
)
def test_jitter_adds_up_to_its_share_and_takes_nothing(
    jitter: float, chance: float, seconds: float
) -> None:
    actual = Backoff(BACKOFF.delays, jitter).after(2, chance=lambda: chance)

    assert timedelta(seconds=seconds) == actual


def test_without_jitter_the_delay_is_exact() -> None:
    assert {timedelta(seconds=5)} == {BACKOFF.after(1) for _ in range(50)}


def test_the_reasons_are_the_contract() -> None:
    """The command line, the log and the dead letters spell them so."""
    assert {"exhausted", "invalid", "unknown_type", "crashed", "rejected"} == set(DeadReason)
