"""A wedged service is not ready and its watchdog starves; one whose database is away just waits.

What hangs is the real command; the service manager is a socket that hears what systemd would.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.demo.shop import Shop
from tests.support import log_schema
from tests.support.network import NetworkProxy, network_proxy
from tests.support.verbs import HOUR

WATCHDOG = 2.0  # seconds after which systemd would restart the service
WITHIN = 20.0

# The command, whose every bound is short.
COMMAND = """
from datetime import timedelta
from sweeper import cli, health
health.SLOW = timedelta(seconds=1)
{wedge}
cli.main()
"""
# Hooks: what they break is broken as soon as the file is there.
BLOCKED_DRAIN = """
from threading import Event
from sweeper.drain import Drain
Drain._attempt = lambda *_: Event().wait()
"""
DEAD_SCHEDULER = """
import os, threading
from apscheduler.schedulers.base import BaseScheduler
whole = BaseScheduler._process_jobs
def process(self):
    if os.path.exists(os.environ["WEDGE"]):
        raise MemoryError
    return whole(self)
BaseScheduler._process_jobs = process
"""


@dataclass(slots=True)
class Unit:
    """A running service, and what its manager hears."""

    process: "subprocess.Popen[bytes]"
    manager: socket.socket
    log: Path
    wedge: Path

    def heard(self, within: float) -> Iterator[str]:
        """Yield what the manager hears, for so many seconds."""
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            self.manager.settimeout(left)
            with suppress(TimeoutError):
                yield self.manager.recv(4096).decode()

    def wait_for(self, words: str) -> str:
        """Return the next message that begins with these words."""
        found = next((told for told in self.heard(WITHIN) if told.startswith(words)), None)
        assert found is not None, self.log.read_text()
        return found

    def wait_for_event(self, name: str) -> dict[str, Any]:
        """Return the first line of that name in the log."""
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            for line in log_schema.lines(self.log.read_text()):
                if line["event"] == name:
                    return dict(line)
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def is_fed(self) -> bool:
        """Return whether the watchdog is fed before it would bite."""
        return "WATCHDOG=1" in self.heard(WATCHDOG)

    def starves(self) -> dict[str, Any]:
        """Wait until a loop stalls, and the watchdog starves; return what was logged of it."""
        stalled = self.wait_for_event("loop.stalled")
        list(self.heard(0.1))
        assert not self.is_fed()
        return stalled


Start = Callable[..., Unit]


@pytest.fixture
def line(server_url: str) -> Iterator[NetworkProxy]:
    with network_proxy(server_url) as laid:
        yield laid


@pytest.fixture
def start(line: NetworkProxy, database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start `sweeper run` with a wedge in it; return once it is ready."""
    units: list[Unit] = []

    def start_one(wedge: str = "") -> Unit:
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(str(tmp_path / "notify"))
        environment = {
            **os.environ,
            "DATABASE_URL": line.url(database_url),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": str(round(WATCHDOG * 1_000_000)),
            "WEDGE": str(tmp_path / "wedge"),
            "SWEEPER_STOCK__TAKEN_AT": "checkout",
            "SWEEPER_DATABASE__STATEMENT_TIMEOUT": "300ms",
            "SWEEPER_DATABASE__CONNECT_TIMEOUT": "500ms",
            "SWEEPER_RULES__EXPIRE_DP__EVERY": "1s",
            "SWEEPER_RULES__AUTO_REFUND__EVERY": "1s",
            "SWEEPER_SERVICE__HEARTBEAT_EVERY": "1s",
            "SWEEPER_WEB__ENABLED": "false",
        }
        log = tmp_path / "log.jsonl"
        with log.open("wb") as stdout, (tmp_path / "stderr").open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", COMMAND.format(wedge=wedge), "run"],
                env=environment,
                stdout=stdout,
                stderr=stderr,
            )
        units.append(Unit(process, manager, log, tmp_path / "wedge"))
        return units[-1]

    yield start_one
    for unit in units:
        unit.process.kill()
        unit.process.wait()
        unit.manager.close()


def test_a_database_that_is_away_makes_not_ready_and_nothing_is_restarted(
    start: Start, line: NetworkProxy
) -> None:
    """L9: the watchdog is fed all the while, and the service recovers by itself."""
    unit = start()
    unit.wait_for("READY=1")

    line.disconnect()

    assert "the database cannot be read" in unit.wait_for("STATUS=DOWN")
    assert "the queues were last read" in str(unit.wait_for_event("readiness.lost")["reasons"])
    assert all(unit.is_fed() for _ in range(8))

    line.restore()

    assert "processed" in unit.wait_for("STATUS=UP: ")
    unit.process.send_signal(signal.SIGTERM)
    assert 0 == unit.process.wait(WITHIN)


def test_a_database_that_hangs_starves_the_watchdog(start: Start, line: NetworkProxy) -> None:
    """L9: no timeout of the server's or the kernel's ends a wait that nobody answers."""
    unit = start()
    unit.wait_for("READY=1")

    line.freeze()

    assert "DOWN" in unit.wait_for("STATUS=DOWN")
    assert unit.starves()


def test_a_drain_that_is_blocked_starves_the_watchdog(start: Start, shop: Shop) -> None:
    """L9: alive means working: the scans go on, and that is not enough."""
    unit = start(BLOCKED_DRAIN)
    unit.wait_for("READY=1")

    shop.order(age=HOUR)

    assert "drain" in unit.wait_for("STATUS=DOWN")
    stalled = unit.starves()
    assert stalled["loops"] in (["drain 1"], ["drain 2"])
    assert any("drain.py" in stack and stack.endswith(" wait") for stack in stalled["stacks"])


def test_a_scheduler_that_died_starves_the_watchdog(start: Start) -> None:
    """L9: nothing raises, nothing hangs, and nothing is scanned any more."""
    unit = start(DEAD_SCHEDULER)
    unit.wait_for("READY=1")

    unit.wedge.touch()

    assert "expire_dp" in str(unit.wait_for_event("readiness.lost")["reasons"])
    assert "expire_dp" in unit.starves()["loops"]
