"""One reading for all who ask, and nobody waits for ever."""

from threading import Event
from time import monotonic

import pytest

from sweeper.web import cache
from sweeper.web.cache import SingleFlight


def test_one_reading_serves_all_who_ask_within_a_moment() -> None:
    taken = iter(range(9))
    shared = SingleFlight(lambda: next(taken))

    assert [0, 0, 0] == [shared.get() for _ in range(3)]


def test_after_a_change_everybody_reads_anew() -> None:
    taken = iter(range(9))
    shared = SingleFlight(lambda: next(taken))
    shared.get()
    shared.forget()

    assert 1 == shared.get()


def test_what_a_reading_raised_is_raised_for_everybody() -> None:
    taken = iter([ZeroDivisionError("first"), ZeroDivisionError("second")])

    def fail() -> None:
        raise next(taken)

    shared = SingleFlight(fail)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="first"):
            shared.get()


def test_a_long_reading_goes_on_alone_and_is_not_begun_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "TIMEOUT", 0.05)
    begun, go_on = list[int](), Event()

    def slow() -> str:
        begun.append(1)
        go_on.wait(10)
        return "read"

    shared = SingleFlight(slow)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            shared.get()
    go_on.set()
    monkeypatch.setattr(cache, "TIMEOUT", 10)

    assert ("read", 1) == (shared.get(), len(begun))


def test_what_took_long_is_good_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "FRESH_FOR", 0.0)
    taken = iter(range(9))
    shared = SingleFlight(lambda: (Event().wait(0.2), next(taken))[1])
    began = monotonic()
    while shared.get() == 0:
        Event().wait(0.05)

    assert monotonic() - began > 1.5
