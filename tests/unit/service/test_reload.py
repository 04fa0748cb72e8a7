"""A reload as systemd hears of it, and signals that are sent more often than they are obeyed."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sweeper import catalog
from sweeper.app import App
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.service import signals
from sweeper.service.reload import Reload
from sweeper.web import tokens
from sweeper.web.server import Web
from sweeper.web.tokens import Scope
from tests.support.verbs import HOUR

NOWHERE = {"database.url": "postgresql://sari@127.0.0.1:1/jastip", "stock.taken_at": "checkout"}


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        listening.settimeout(0)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    """Return the first line of each notification that has come."""
    received = []
    while True:
        try:
            received.append(manager.recv(4096).decode().splitlines()[0])
        except BlockingIOError:
            return received


def reload(*, ready: bool, path: Path | None = None) -> None:
    """Reload a service that was ready before, or was not."""
    app = App.load(catalog.load("jobs"), file=path, flags=NOWHERE)
    health = Health({}, HOUR, {}, HOUR)
    if ready:
        health.looked(())
        health.read()
        health.report()
    if path:
        path.unlink()
    Reload(app, Web(app, Stats(), health, lambda: None), health)()


def test_systemd_waits_for_the_end_of_a_reload(manager: socket.socket) -> None:
    reload(ready=True)

    assert ["RELOADING=1", "READY=1"] == heard(manager)[-2:]


def test_a_reload_that_is_refused_has_ended_too(manager: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "sweeper.toml"
    path.write_text("", "utf-8")
    reload(ready=True, path=path)

    assert ["RELOADING=1", "READY=1"] == heard(manager)[-2:]


def test_a_reload_before_the_service_is_ready_does_not_make_it_ready(
    manager: socket.socket,
) -> None:
    """L9: started means that every rule was scanned, whatever is reloaded meanwhile."""
    reload(ready=False)

    assert [] == heard(manager)


def test_a_signal_waits_once_however_often_it_is_sent() -> None:
    received = signals.Received()
    for name in ("SIGHUP", "SIGUSR1", "SIGHUP", "SIGHUP", "SIGTERM"):
        received.put(name)

    assert ["SIGHUP", "SIGUSR1", "SIGTERM", ""] == [received.next(0.01) for _ in range(4)]
    received.put("SIGHUP")
    assert "SIGHUP" == received.next(0.01)


def test_settings_with_which_no_service_would_start_are_refused(tmp_path: Path) -> None:
    """L3: when stock is taken has no default, and a token beside it does not change either."""
    path, line = tmp_path / "sweeper.toml", tokens.line(tokens.make(), Scope.ACT)
    path.write_text(f'stock.taken_at = "checkout"\n[web.tokens]\nci = "{line}"', "utf-8")
    url = {"database.url": NOWHERE["database.url"]}
    app = App.load(catalog.load("jobs"), file=path, flags=url)
    health = Health({}, HOUR, {}, HOUR)
    web = Web(app, Stats(), health, lambda: None)
    path.write_text("", "utf-8")

    with capture_logs() as lines:
        Reload(app, web, health)()

    (refused,) = lines
    assert ("settings.refused", "warning") == (refused["event"], refused["log_level"])
    assert "stock.taken_at is not set" in refused["faults"][0]
    assert {"ci": line} == app.settings.web.tokens
    assert ["ci"] == [token.name for token in web.accepts]
