"""What a command hears of the jobs that fail while it works."""

import pytest
import structlog

from sweeper import events
from sweeper.cli.terminal.failures import Failures
from sweeper.event import overheard


def retried(key: str, attempt: int = 1, delay: float = 5.0) -> None:
    """Log that a job is retried."""
    events.JOB_RETRIED.log(
        type="EXPIRE", key=key, attempt=attempt, delay_seconds=delay, error="out of order"
    )


def died(key: str) -> None:
    """Log that a job is dead."""
    events.JOB_DEAD.log(
        type="EXPIRE", key=key, msg_id=7, reason="exhausted", attempts=4, error="x", alike=0
    )


def done(*keys: str) -> None:
    """Log that jobs are done."""
    events.BATCH_DONE.log(type="EXPIRE", done=[*keys], skipped=[], postponed=[], duration_ms=1.0)


def test_a_job_that_failed_is_heard_of_with_what_it_says() -> None:
    failures = Failures()
    with overheard(failures.hear):
        retried("a")
        retried("a", attempt=2)

    (one,) = failures.waiting
    assert ("EXPIRE", "a", "out of order", 2) == (one.type, one.key, one.error, one.attempt)
    assert 0 < one.again_in <= 5


def test_a_job_that_was_done_after_all_has_not_failed() -> None:
    """A long drain meets the retry of a job that it has seen fail."""
    failures = Failures()
    with overheard(failures.hear):
        retried("a", delay=0.0)
        retried("b")
        done("a", "c")

    assert ["b"] == [one.key for one in failures.waiting]


def test_another_job_with_the_same_key_hides_no_failure() -> None:
    """An order has several notices: one may fail, and the next one be sent at once."""
    failures = Failures()
    with overheard(failures.hear):
        retried("a")
        done("a")

    assert ["a"] == [one.key for one in failures.waiting]


def test_a_job_that_died_waits_no_more() -> None:
    failures = Failures()
    with overheard(failures.hear):
        retried("a")
        died("a")

    assert ([], [7]) == ([*failures.waiting], [one.letter for one in failures.dead])


@pytest.mark.parametrize("tells", [True, False])
def test_only_what_the_report_tells_is_kept_out_of_the_log(tells: bool) -> None:  # noqa: FBT001
    with structlog.testing.capture_logs() as logged, overheard(Failures(tells).hear):
        retried("a")
        died("b")
        done("c")

    told = ["batch.done"] if tells else ["job.retried", "job.dead", "batch.done"]
    assert told == [line["event"] for line in logged]
