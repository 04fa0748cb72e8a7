"""A wedged service stops its watchdog pings; without its database a service only waits.

The service is the real command; a socket receives what systemd would be sent.
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

# The command, with short timeouts.
COMMAND = """
from datetime import timedelta
from sweeper.cli import main
from sweeper.monitoring import health
health.SLOW = timedelta(seconds=1)
{wedge}
main.main()
"""
# Faults: the second one takes effect as soon as the file exists.
BLOCKED_DRAIN = """
from threading import Event
from sweeper.worker.drain import Drain
Drain._attempt = lambda *_: Event().wait()
"""
DEAD_SCHEDULER = """
import os, threading
from apscheduler.schedulers.base import BaseScheduler
original = BaseScheduler._process_jobs
def process(self):
    if os.path.exists(os.environ["WEDGE"]):
        raise MemoryError
    return original(self)
BaseScheduler._process_jobs = process
"""


@dataclass(slots=True)
class Unit:
    """A running service, and the socket that receives its notifications."""

    process: "subprocess.Popen[bytes]"
    manager: socket.socket
    log: Path
    wedge: Path

    def notifications(self, within: float) -> Iterator[str]:
        """Yield the notifications of the next *within* seconds."""
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            self.manager.settimeout(left)
            with suppress(TimeoutError):
                yield self.manager.recv(4096).decode()

    def wait_for(self, prefix: str) -> str:
        """Return the next notification that begins with *prefix*."""
        found = next((each for each in self.notifications(WITHIN) if each.startswith(prefix)), None)
        assert found is not None, self.log.read_text()
        return found

    def wait_for_event(self, name: str) -> dict[str, Any]:
        """Return the first event of that name in the log."""
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            for line in log_schema.lines(self.log.read_text()):
                if line["event"] == name:
                    return dict(line)
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def pings_watchdog(self) -> bool:
        """Return whether a watchdog ping arrives before systemd would restart the service."""
        return "WATCHDOG=1" in self.notifications(WATCHDOG)

    def wait_for_stall(self) -> dict[str, Any]:
        """Wait until a loop stalls and no watchdog ping arrives; return the event."""
        stalled = self.wait_for_event("loop.stalled")
        list(self.notifications(0.1))
        assert not self.pings_watchdog()
        return stalled


Start = Callable[..., Unit]


@pytest.fixture
def network(server_url: str) -> Iterator[NetworkProxy]:
    with network_proxy(server_url) as proxy:
        yield proxy


@pytest.fixture
def start(network: NetworkProxy, database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts `sweeper run` with a fault in it."""
    units: list[Unit] = []

    def start_one(wedge: str = "") -> Unit:
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(str(tmp_path / "notify"))
        environment = {
            **os.environ,
            "DATABASE_URL": network.url(database_url),
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


def test_an_unreachable_database_makes_the_service_not_ready_and_does_not_restart_it(
    start: Start, network: NetworkProxy
) -> None:
    """L9: the watchdog pings go on, and the service recovers without a restart."""
    unit = start()
    unit.wait_for("READY=1")

    network.disconnect()

    assert "the database cannot be read" in unit.wait_for("STATUS=DOWN")
    assert "the queues were last read" in str(unit.wait_for_event("readiness.lost")["reasons"])
    assert all(unit.pings_watchdog() for _ in range(8))

    network.restore()

    assert "processed" in unit.wait_for("STATUS=UP: ")
    unit.process.send_signal(signal.SIGTERM)
    assert 0 == unit.process.wait(WITHIN)


def test_a_database_that_hangs_stops_the_watchdog_pings(
    start: Start, network: NetworkProxy
) -> None:
    """L9: no timeout of the server or of the kernel ends the wait for a reply."""
    unit = start()
    unit.wait_for("READY=1")

    network.freeze()

    assert "DOWN" in unit.wait_for("STATUS=DOWN")
    assert unit.wait_for_stall()


def test_a_blocked_drain_stops_the_watchdog_pings(start: Start, shop: Shop) -> None:
    """L9: alive means working: scans that go on are not enough."""
    unit = start(BLOCKED_DRAIN)
    unit.wait_for("READY=1")

    shop.order(age=HOUR)

    assert "drain" in unit.wait_for("STATUS=DOWN")
    stalled = unit.wait_for_stall()
    assert stalled["loops"] in (["drain 1"], ["drain 2"])
    assert any("drain.py" in stack and stack.endswith(" wait") for stack in stalled["stacks"])


def test_a_dead_scheduler_stops_the_watchdog_pings(start: Start) -> None:
    """L9: no error and no hanging thread shows that no rule is scanned any more."""
    unit = start(DEAD_SCHEDULER)
    unit.wait_for("READY=1")

    unit.wedge.touch()

    assert "expire_dp" in str(unit.wait_for_event("readiness.lost")["reasons"])
    assert "expire_dp" in unit.wait_for_stall()["loops"]
