"""Retries: whether a failed job is retried or dead-lettered, and after which backoff."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sweeper.errors import RejectedError


class DeadReason(StrEnum):
    """Why a message was dead-lettered."""

    EXHAUSTED = "exhausted"
    INVALID = "invalid"
    UNKNOWN_TYPE = "unknown_type"
    CRASHED = "crashed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Retry:
    """Run the job again once *delay* has passed."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Dead:
    """Dead-letter the job for *reason*; only an operator can retry it."""

    reason: DeadReason


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a job waits between its attempts.

    delays -- the waits after the first failure, the second, ...; the last one is repeated
    jitter -- up to this share of a delay is added at random: 0 adds none, 0.5 up to a half
    """

    delays: tuple[timedelta, ...]
    jitter: float = 0.0

    def after(self, failures: int, *, chance: Callable[[], float] = random.random) -> timedelta:
        """Return the wait after the *failures*-th failure, counted from 1."""
        delay = self.delays[min(failures, len(self.delays)) - 1]
        return delay * (1 + self.jitter * chance())


FIRST_REST = timedelta(seconds=1)
LONGEST_REST = timedelta(minutes=5)


def rest_after(postponements: int) -> timedelta:
    """Return how long a job rests after so many postponements: it doubles with each, up to 5 min.

    The first nine rests take 511 s together, and each further one 300 s.
    """
    return min(FIRST_REST * (1 << min(postponements - 1, 9)), LONGEST_REST)


def judge(attempt: int, error: Exception, *, max_retries: int, backoff: Backoff) -> Retry | Dead:
    """Decide on a job whose *attempt*-th execution, counted from 1, raised *error*.

    It is a pure function of its arguments, apart from the backoff's jitter.
    """
    if isinstance(error, RejectedError):
        return Dead(DeadReason.REJECTED)
    if attempt > max_retries:
        return Dead(DeadReason.EXHAUSTED)
    return Retry(backoff.after(attempt))
