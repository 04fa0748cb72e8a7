"""The call pool: no call in a pause or after a stop, and a single one after a pause."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sweeper import Answer, Outside, Pace, RefusedError
from sweeper.outbound import call_pool
from sweeper.outbound.call_pool import CallPool


class Clock:
    """A clock that stands still; *now* is in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock by which calls are paced."""
    stopped = Clock()
    monkeypatch.setattr(call_pool, "monotonic", stopped)
    return stopped


def pool(call: Callable[[Any], Any], *, halted: bool = False) -> CallPool:
    """Return a pool with eight threads that makes its calls with *call*."""

    def prepare(_batch: Any) -> Mapping[int, Any]:
        return {}

    def record(_batch: Any, _answers: Mapping[int, Answer]) -> None: ...

    handler: Outside[Any] = Outside(prepare=prepare, call=call, record=record)
    return CallPool("PING", handler, Pace(rate=1_000, concurrency=8), lambda: halted)


def refuse(_prepared: Any) -> None:
    raise RefusedError


def test_there_is_no_room_in_a_pause_and_for_one_call_after_it(clock: Clock) -> None:
    """L5: a single call tests whether the provider works again."""
    calls = pool(refuse)
    rooms = [calls.room(0)]

    calls.call("notice").result()
    rooms.append(calls.room(0))
    clock.now += calls.pause.total_seconds() + 0.001
    rooms += [calls.room(0), calls.room(1)]

    assert [8, 0, 1, 0] == rooms


@pytest.mark.usefixtures("clock")
def test_a_call_whose_slot_comes_after_a_stop_is_not_made() -> None:
    """L5: its job is given back as though it had not been begun."""
    made: list[Any] = []

    result = pool(made.append, halted=True).call("notice").result()

    assert ([], "notice", None) == (made, result.answer.prepared, result.answer.error)
    assert result.wait is not None


def test_a_call_whose_slot_comes_in_a_pause_is_not_made(clock: Clock) -> None:
    """L5: its job waits for as long as the pause lasts."""
    made: list[Any] = []

    def call(prepared: Any) -> None:
        made.append(prepared)
        raise RefusedError

    calls = pool(call)
    calls.call("first").result()
    clock.now += 0.001
    result = calls.call("second").result()

    assert (["first"], calls.pause) == (made, result.wait)
