"""The call pool: the threads that call one provider, within its rate limit and circuit breaker."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from time import monotonic, sleep
from typing import Any

from sweeper import events
from sweeper.errors import LostReplyError, OutsideError, RefusedError, ThrottledError
from sweeper.event import Event
from sweeper.job import Answer, Outside, Pace
from sweeper.outbound.circuit_breaker import CircuitBreaker, Streak
from sweeper.outbound.rate_limiter import RateLimiter

_STOP_CHECK = 0.1  # seconds between two checks whether the lane must stop


@dataclass(frozen=True, slots=True)
class CallResult:
    """A call's answer, and whether the job or the provider is at fault where it failed.

    wait   -- how long the job is postponed, because the provider is at fault; None where it is not
    streak -- the failures that a failure of the provider is one of; None for every other result
    """

    answer: Answer
    wait: timedelta | None = None
    streak: Streak | None = None

    @property
    def undecided(self) -> bool:
        """Whether further calls may yet show that the failure is part of an outage."""
        return self.wait is None and self.streak is not None and self.streak.outage is None


class CallPool:
    """Makes the calls of one job type in threads, no faster than its pace.

    halted -- called before each call; once true, no call is begun, and calls in flight go on
    """

    def __init__(
        self, name: str, handler: Outside[Any], pace: Pace, halted: Callable[[], bool]
    ) -> None:
        self.handler = handler
        self._name = name
        self._concurrency = pace.concurrency
        self.halted = halted
        self._rate_limiter = RateLimiter(pace.rate)
        self._circuit_breaker = CircuitBreaker()
        self._logged: Event | None = None
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(pace.concurrency, thread_name_prefix=name)

    @property
    def pause(self) -> timedelta:
        """How long the circuit breaker still stops all calls; 0 while calls may be made."""
        return timedelta(seconds=self._circuit_breaker.left(monotonic()))

    @property
    def blocked(self) -> bool:
        """Whether the provider has refused our calls, and none has succeeded since."""
        return self._logged is events.LANE_BLOCKED

    def room(self, out: int) -> int:
        """Return how many calls may be begun now, when *out* are in flight or not yet recorded.

        It is at most one after a pause: a single call tests whether the provider works again.
        """
        with self._lock:
            now = monotonic()
            if self._circuit_breaker.left(now):
                return 0
            most = 1 if self._circuit_breaker.since is not None else self._concurrency
            return self._rate_limiter.free(now, max(0, most - out))

    def call(self, prepared: Any) -> "Future[CallResult]":
        """Make one call in its rate-limit slot; what it raises is in the result's answer."""
        with self._lock:
            delay = self._rate_limiter.take(monotonic())
        return self._threads.submit(self._call, prepared, delay)

    def _call(self, prepared: Any, delay: float) -> CallResult:
        if not self._wait_for_slot(delay):
            return CallResult(Answer(prepared), self.pause)
        began = monotonic()
        try:
            value = self.handler.call(prepared)
        except Exception as error:  # noqa: BLE001 -- the answer holds any error
            return CallResult(Answer(prepared, error=error), *self._failed(error, began))
        self._succeeded(began)
        return CallResult(Answer(prepared, value))

    def _wait_for_slot(self, delay: float) -> bool:
        """Wait for *delay* seconds, and return whether the call may still be made."""
        while delay > 0 and not self.halted():
            nap = min(delay, _STOP_CHECK)
            sleep(nap)
            delay -= nap
        return not self.halted() and not self.pause

    def _succeeded(self, began: float) -> None:
        with self._lock:
            now, since = monotonic(), self._circuit_breaker.since
            self._circuit_breaker.succeeded(began)
            if since is not None and self._circuit_breaker.since is None:
                events.LANE_RESUMED.log(type=self._name, seconds=round(now - since, 1))
                self._logged = None

    def _failed(self, error: Exception, began: float) -> tuple[timedelta | None, Streak | None]:
        """Record a failed call; return the `wait` and the `streak` of its result."""
        with self._lock:
            now = monotonic()
            match error:
                case ThrottledError(alone=True):
                    return error.wait, None
                case ThrottledError():
                    self._circuit_breaker.hold(now, error.wait.total_seconds())
                case OutsideError():
                    self._circuit_breaker.failed(
                        now,
                        began,
                        fatal=isinstance(error, RefusedError),
                        costly=isinstance(error, LostReplyError),
                    )
                case _:
                    return None, None
            left, streak = self._circuit_breaker.left(now), self._circuit_breaker.streak
            if not left:
                return None, streak
            self._log(error, left)
            return timedelta(seconds=left), streak

    def _log(self, error: Exception, seconds: float) -> None:
        event = events.LANE_BLOCKED if isinstance(error, RefusedError) else events.LANE_PAUSED
        if event is not self._logged:
            event.log(type=self._name, seconds=round(seconds, 1), error=str(error))
            self._logged = event
