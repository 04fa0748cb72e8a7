"""The service in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from tests.support import log_schema

Start = Callable[..., "Running"]


class Running:
    """The service in a process of its own, and its log."""

    def __init__(self, log: Path, url: str, **settings: str) -> None:
        self._log = log
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "SWEEPER_STOCK__TAKEN_AT": "checkout",
            "SWEEPER_WEB__ENABLED": "false",
            "SWEEPER_QUEUE__POLL_MAX": "200ms",
            **settings,
        }
        with log.open("wb") as stdout:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sweeper", "run"], env=environment, stdout=stdout
            )

    def logged(self, event: str) -> list[dict[str, object]]:
        """Return the logged lines of one event."""
        lines = log_schema.lines(self._log.read_text())
        return [line for line in lines if line["event"] == event]

    def wait_for(self, event: str) -> dict[str, object]:
        """Return the first line of an event, once there is one."""
        until(lambda: self.logged(event))
        return self.logged(event)[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


def until(holds: Callable[[], object]) -> None:
    """Return once *holds* is true."""
    for _ in range(1_000):
        if holds():
            return
        Event().wait(0.02)
    pytest.fail("the condition did not become true within twenty seconds")
