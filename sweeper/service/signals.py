"""Signals: the first SIGTERM or Ctrl-C asks the process to stop, the second stops it at once."""

import signal
from collections.abc import Callable

STOP = ("SIGTERM", "SIGINT")


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
    signal.signal(signal.SIGUSR1, lambda _number, _frame: call())


def exit_code(name: str) -> int:
    """Return the exit code of a process that the signal *name* stopped: 143 or 130."""
    return 128 + signal.Signals[name]
