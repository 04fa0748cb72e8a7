"""Signals: the first SIGTERM or Ctrl-C asks the process to stop, the second stops it at once."""

import signal
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

STOP = ("SIGTERM", "SIGINT")
SCAN, RELOAD = "SIGUSR1", "SIGHUP"


class Received:
    """The signals that wait to be obeyed, each once, however often it was sent meanwhile.

    `SimpleQueue` may be put into by a handler that has interrupted whoever takes out of it.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[str] = SimpleQueue()
        self._waiting = set[str]()

    def put(self, name: str) -> None:
        """Let the signal *name* wait."""
        if name not in self._waiting:
            self._waiting.add(name)
            self._queue.put(name)

    def next(self, seconds: float) -> str:
        """Return the name of the next signal, or "" if there is none within *seconds*."""
        with suppress(Empty):
            name = self._queue.get(timeout=seconds)
            self._waiting.discard(name)
            return name
        return ""


def reloads() -> Received:
    """Return what receives SIGHUP from now on, which otherwise ends the process."""
    received = Received()
    signal.signal(signal.Signals[RELOAD], lambda _number, _frame: received.put(RELOAD))
    return received


def on_stop(call: Callable[[str], None]) -> Callable[[], None]:
    """Call *call* with the name of the first SIGTERM or SIGINT; another one ends the process.

    *call* may interrupt the main thread anywhere, so it must take no lock that this thread holds.
    Returns the function that restores what the signals did before.
    """
    numbers = [signal.Signals[name] for name in STOP]

    def handle(number: int, _frame: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        call(signal.Signals(number).name)

    before = {number: signal.signal(number, handle) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def on_scan(call: Callable[[], None]) -> None:
    """Call *call* at each SIGUSR1, with which an operator asks for a scan."""
    signal.signal(signal.Signals[SCAN], lambda _number, _frame: call())


def exit_code(name: str) -> int:
    """Return the exit code of a process that the signal *name* stopped: 143 or 130."""
    return 128 + signal.Signals[name]
