"""The heartbeat: a log line, a status for systemd, and a call to an external monitor."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs
from structlog.types import EventDict

from sweeper.app import App
from sweeper.batch import Tally
from sweeper.monitoring import health as health_module
from sweeper.monitoring import systemd
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.outbound import http_client
from sweeper.service import heartbeat
from sweeper.service.heartbeat import Heartbeat
from sweeper.service.outage import Outage
from tests.support.verbs import DAY, QUEUE, Connect, OpenApp, send

PATH = "/ping/a-path-that-nobody-else-knows"


@pytest.fixture
def health() -> Health:
    """Return the health of a service that is ready."""
    ready = Health({}, DAY, {}, DAY)
    ready.read()
    return ready


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the status texts that `systemctl status` would show."""
    shown: list[str] = []
    monkeypatch.setattr(systemd, "status", shown.append)
    return shown


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shorten the timeout for the monitor, and keep no connection to it."""
    monkeypatch.setattr(heartbeat, "_TIMEOUT", timedelta(milliseconds=300))
    http_client._client().close()
    http_client._client.cache_clear()
    yield
    http_client._client().close()
    http_client._client.cache_clear()


@contextmanager
def monitor(status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """Run a monitor; yield its address and the paths that were called."""
    called: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Answer with the status."""
            called.append(self.path)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{PATH}", called
        finally:
            server.shutdown()
            thread.join()


def beat(app: App, health: Health) -> list[EventDict]:
    """Make one heartbeat, and return the logged lines."""
    stats = Stats(lambda: 2)
    stats.add(Tally(done=3, skipped=1, retried=1))
    with capture_logs() as lines:
        Heartbeat(app, stats, health, Outage()).beat()
    assert PATH not in str(lines)
    return list(lines)


def test_a_heartbeat_logs_the_state_of_the_service(
    app: App, health: Health, statuses: list[str]
) -> None:
    send(app, "ORDER_EXPIRE_DP", {"orderId": "o1"})

    (line,) = beat(app, health)

    figures: dict[str, Any] = line.pop("figures")
    uptime, waits = line.pop("uptime_seconds"), line.pop("oldest_waiting_seconds")
    assert line == {
        "event": "service.heartbeat",
        "log_level": "info",
        "status": "UP",
        "active_jobs": 2,
        "processed": 4,
        "failed": 1,
        "queued": 1,
        "processing": 0,
        "dead": 0,
        "hidden": 0,
        "oldest_overdue_seconds": 0.0,
        "paused": [],
        "reasons": [],
    }
    assert (True, True) == (
        uptime < 60 and 0 <= waits < 60,
        figures.keys() == set(app.status_reader.read().figures),
    )
    assert ["UP: 4 processed, 1 failed; 1 queued, 0 dead"] == statuses


def test_a_pause_is_told_once_when_it_begins_and_when_it_ends(
    app: App, health: Health, statuses: list[str]
) -> None:
    """A paused service is ready, and says that it is paused."""
    beats = Heartbeat(app, Stats(lambda: 0), health, Outage())
    app.pauses.pause("expire_dp", None, "sari", "wrong clock")
    with capture_logs() as lines:
        beats.beat()
        beats.beat()
        app.pauses.resume("expire_dp")
        beats.beat()

    told = [line for line in lines if line["event"] != "service.heartbeat"]
    assert told == [
        {
            "event": "service.paused",
            "log_level": "warning",
            "target": "expire_dp",
            "ends_at": None,
            "actor": "sari",
            "reason": "wrong clock",
            "remedy": "sweeper resume TARGET; docs/runbook.md#paused",
        },
        {"event": "service.resumed", "log_level": "info", "target": "expire_dp"},
    ]
    shown = [line["paused"] for line in lines if line["event"] == "service.heartbeat"]
    assert [["expire_dp"], ["expire_dp"], []] == shown
    assert statuses[0].startswith("UP: ")
    assert statuses[0].endswith("expire_dp is paused")


def test_a_message_that_waits_long_is_told_unless_its_queue_is_paused(
    app: App, health: Health, connection: Connection
) -> None:
    """What an operator has paused waits on purpose."""
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})
    old = "set enqueued_at = now() - interval '20 min', vt = now() - interval '20 min'"
    connection.execute(text(f"update pgmq.q_{QUEUE} {old}"))

    waited, line = beat(app, health)
    app.pauses.pause(QUEUE, None, "sari", "a look")
    *paused, quiet = beat(app, health)

    assert ("message.waited", QUEUE) == (waited["event"], waited["queue"])
    assert 1_200 <= line["oldest_waiting_seconds"] < 1_300
    assert (["service.paused"], 0) == (
        [one["event"] for one in paused],
        quiet["oldest_waiting_seconds"],
    )


def test_a_service_that_was_never_ready_yet_is_starting(
    open_app: OpenApp, statuses: list[str]
) -> None:
    """L9: it is neither up, so that no monitor is called, nor down, so that no alarm rings."""
    with monitor() as (url, called):
        (line,) = beat(open_app(service__heartbeat_url=url), Health({}, DAY, {}, DAY))

    assert ("STARTING", ["the queues were never read"]) == (line["status"], line["reasons"])
    expected = "STARTING: 4 processed, 1 failed; 0 queued, 0 dead; the queues were never read"
    assert ([expected], []) == (statuses, called)


def test_a_start_that_takes_too_long_is_down_with_its_reasons(
    app: App, statuses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "SLOW", timedelta())

    (line,) = beat(app, Health({}, DAY, {}, DAY))

    assert ("DOWN", ["the queues were never read"]) == (line["status"], line["reasons"])
    expected = "DOWN: 4 processed, 1 failed; 0 queued, 0 dead; the queues were never read"
    assert [expected] == statuses


def test_a_heartbeat_without_a_database_has_no_numbers(
    open_app: OpenApp, health: Health, statuses: list[str]
) -> None:
    app = open_app(url="postgresql://127.0.0.1:1/nowhere", database__connect_timeout="1s")

    lost, line = beat(app, health)

    assert ("database.lost", "DOWN") == (lost["event"], line["status"])
    assert {None} == {line[name] for name in ("queued", "processing", "dead", "figures")}
    assert ["the database cannot be read"] == line["reasons"]
    assert ["DOWN: 4 processed, 1 failed; the database cannot be read"] == statuses


def test_a_status_that_takes_too_long_is_told_as_what_it_was(
    open_app: OpenApp, health: Health, connect: Connect, statuses: list[str]
) -> None:
    """L9: the database is there; what failed is the reading of the status."""
    app = open_app(database__lock_timeout="50ms")
    holder = connect()
    holder.execute(text(f"lock table pgmq.q_{QUEUE} in access exclusive mode"))

    failed, line = beat(app, health)

    assert ("status.failed", "DOWN") == (failed["event"], line["status"])
    assert "lock timeout" in failed["error"]
    assert ["the status cannot be read"] == line["reasons"]
    assert ["DOWN: 4 processed, 1 failed; the status cannot be read"] == statuses


# The external monitor.


def test_the_monitor_is_called_while_the_service_is_ready(
    open_app: OpenApp, health: Health
) -> None:
    with monitor() as (url, called):
        lines = beat(open_app(service__heartbeat_url=url), health)

    assert ([PATH], ["service.heartbeat"]) == (called, [line["event"] for line in lines])


def test_the_monitor_is_not_called_while_the_service_is_not_ready(open_app: OpenApp) -> None:
    """L9: a monitor that a hanging service still calls would be useless."""
    with monitor() as (url, called):
        beat(open_app(service__heartbeat_url=url), Health({}, DAY, {}, DAY))

    assert [] == called


def test_an_error_reply_of_the_monitor_is_logged(open_app: OpenApp, health: Health) -> None:
    with monitor(404) as (url, _):
        _, line = beat(open_app(service__heartbeat_url=url), health)

    assert ("heartbeat.failed", "answered 404") == (line["event"], line["error"])


def test_a_monitor_that_never_answers_causes_a_timeout(open_app: OpenApp, health: Health) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}{PATH}"
        _, line = beat(open_app(service__heartbeat_url=url), health)

    assert ("heartbeat.failed", "no reply came: ReadTimeout") == (line["event"], line["error"])


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (f"http://127.0.0.1:1{PATH}", "cannot be reached: ConnectError"),
        (f"nowhere{PATH}", "no reply came: UnsupportedProtocol"),
        (f"http://127.0.0.1:seven{PATH}", "InvalidURL"),
    ],
    ids=["refused", "no scheme", "no URL"],
)
def test_the_error_for_an_invalid_address_does_not_contain_it(
    url: str, error: str, open_app: OpenApp, health: Health
) -> None:
    """L11: the address is a secret, because it can be used to silence the alarm."""
    _, line = beat(open_app(service__heartbeat_url=url), health)

    assert ("heartbeat.failed", error) == (line["event"], line["error"])
