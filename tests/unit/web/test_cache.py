"""The page's cache: one read serves many requests, and each request waits only so long."""

from threading import Event
from time import monotonic

import pytest

from sweeper.web import cache
from sweeper.web.cache import SingleFlight


def test_a_value_is_read_once_for_requests_close_together() -> None:
    reads = iter(range(9))
    cached = SingleFlight(lambda: next(reads))

    assert [0, 0, 0] == [cached.get() for _ in range(3)]


def test_a_forgotten_value_is_read_again() -> None:
    reads = iter(range(9))
    cached = SingleFlight(lambda: next(reads))
    cached.get()
    cached.forget()

    assert 1 == cached.get()


def test_the_error_of_a_read_is_raised_for_every_request() -> None:
    reads = iter([ZeroDivisionError("first"), ZeroDivisionError("second")])

    def fail() -> None:
        raise next(reads)

    cached = SingleFlight(fail)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="first"):
            cached.get()


def test_a_slow_read_continues_after_requests_time_out_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "TIMEOUT", 0.05)
    started, may_finish = list[int](), Event()

    def slow() -> str:
        started.append(1)
        may_finish.wait(10)
        return "read"

    cached = SingleFlight(slow)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            cached.get()
    may_finish.set()
    monkeypatch.setattr(cache, "TIMEOUT", 10)

    assert ("read", 1) == (cached.get(), len(started))


def test_a_value_that_was_slow_to_read_is_kept_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "FRESH_FOR", 0.0)
    reads = iter(range(9))
    cached = SingleFlight(lambda: (Event().wait(0.2), next(reads))[1])
    began = monotonic()
    while cached.get() == 0:
        Event().wait(0.05)

    assert monotonic() - began > 1.5
