"""A service whose database is away at its start: it waits with its eyes open, and then works."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from sqlalchemy import make_url

from jobs.demo.shop import Shop
from tests.support import log_schema
from tests.support.network import NetworkProxy, network_proxy
from tests.support.verbs import HOUR

WITHIN = 30.0


@pytest.fixture
def network(server_url: str) -> Iterator[NetworkProxy]:
    with network_proxy(server_url) as proxy:
        yield proxy


class Service:
    """The command `sweeper run` in a process, with its page on a free port."""

    def __init__(self, folder: Path, url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._log, self.errors = folder / "log.jsonl", folder / "errors"
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(folder / "notify"))
        self._told = list[str]()
        settings = {
            "DATABASE_URL": url,
            "NOTIFY_SOCKET": str(folder / "notify"),
            "SWEEPER_STOCK__TAKEN_AT": "checkout",
            "SWEEPER_WEB__PORT": str(self._port),
            "SWEEPER_QUEUE__POLL_MAX": "200ms",
        }
        with self._log.open("wb") as stdout, self.errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sweeper", "run"],
                env={**os.environ, **settings},
                stdout=stdout,
                stderr=stderr,
            )

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the text of the page's answer."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", path)
            received = connection.getresponse()
            return received.status, received.read().decode()
        finally:
            connection.close()

    def logged(self) -> str:
        """Return everything that was written to stdout and stderr until now."""
        return self._log.read_text() + self.errors.read_text()

    def events(self) -> list[str]:
        """Return the names of the logged events."""
        return [str(line["event"]) for line in log_schema.lines(self._log.read_text())]

    def told_systemd(self) -> str:
        """Return everything that systemd was told until now."""
        self._manager.settimeout(0)
        try:
            while True:
                self._told.append(self._manager.recv(4096).decode())
        except BlockingIOError:
            return "\n".join(self._told)

    def end(self) -> None:
        """Kill the process, if it still runs."""
        self.process.kill()
        self.process.wait()
        self._manager.close()

    def wait_for(self, event: str) -> None:
        """Wait until *event* is logged."""
        until(lambda: event in self.events())


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


Start = Callable[[str], Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service, which is killed after the test if it still runs."""
    running: list[Service] = []

    def start_one(url: str) -> Service:
        running.append(Service(tmp_path, url))
        return running[-1]

    yield start_one
    for service in running:
        service.end()


def test_a_service_waits_for_its_database_with_its_eyes_open(
    start: Start, network: NetworkProxy, database_url: str, shop: Shop
) -> None:
    """L9: page, metrics, readiness and systemd's status say what it waits for; then it works."""
    order = shop.order(age=HOUR)
    network.disconnect()
    service = start(network.url(database_url, password="kelinci putih"))  # noqa: S106 -- anybody's
    service.wait_for("service.heartbeat")

    status, page = service.get("/")
    assert (200, True) == (status, "does not answer" in page)
    assert 503 == service.get("/readyz")[0]
    assert "waits for the database" in service.get("/readyz")[1]
    assert 200 == service.get("/livez")[0]
    assert "sweeper_database_up 0.0" in service.get("/metrics")[1]
    assert ["database.lost", "web.opened", "service.started"] == service.events()[:3]
    assert "EXTEND_TIMEOUT_USEC=" in service.told_systemd()
    assert "STATUS=DOWN" in service.told_systemd()
    assert "kelinci" not in page + service.logged() + service.told_systemd()

    network.restore()
    service.wait_for("service.ready")
    until(lambda: shop.status(order) == "cancelled")

    assert "database.recovered" in service.events()
    assert 1 == service.events().count("database.lost")
    assert "READY=1" in service.told_systemd()
    service.process.send_signal(signal.SIGTERM)
    assert 0 == service.process.wait(WITHIN)


def test_a_service_that_waits_stops_when_it_is_asked(
    start: Start, network: NetworkProxy, database_url: str
) -> None:
    network.disconnect()
    service = start(network.url(database_url))
    service.wait_for("database.lost")

    service.process.send_signal(signal.SIGTERM)

    assert 0 == service.process.wait(WITHIN)
    assert ["service.stopping", "service.stopped"] == service.events()[-2:]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("database", 'database "no_such_shop" does not exist'),
        ("role", 'role "nobody" does not exist'),
    ],
)
def test_what_no_waiting_mends_ends_the_start_at_once(
    start: Start, database_url: str, part: str, message: str
) -> None:
    url = make_url(database_url).set(database="no_such_shop")
    url = url if part == "database" else make_url(database_url).set(username="nobody")
    service = start(url.render_as_string(hide_password=False))

    assert 69 == service.process.wait(WITHIN)
    assert message in service.errors.read_text()
    assert "service.started" not in service.events()
