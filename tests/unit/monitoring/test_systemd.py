"""Notifications to systemd, over a real datagram socket."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from sweeper.monitoring import systemd


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(2)
        yield listening


@pytest.fixture
def bound_to_a_file(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> socket.socket:
    address = tmp_path / "notify"
    manager.bind(str(address))
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    return manager


@pytest.mark.parametrize(
    ("notify", "datagram"),
    [
        (systemd.ready, "READY=1"),
        (systemd.alive, "WATCHDOG=1"),
        (systemd.stopping, "STOPPING=1"),
        (lambda: systemd.starting(timedelta(seconds=30)), "EXTEND_TIMEOUT_USEC=30000000"),
        (lambda: systemd.status("UP: 12 processed"), "STATUS=UP: 12 processed"),
        (lambda: systemd.notify(READY="1", STATUS="there"), "READY=1\nSTATUS=there"),
    ],
    ids=["ready", "alive", "stopping", "starting", "status", "two at once"],
)
def test_each_notification_is_one_datagram(
    bound_to_a_file: socket.socket, notify: Callable[[], bool], datagram: str
) -> None:
    assert notify()

    assert datagram == bound_to_a_file.recv(4096).decode()


def test_a_reload_tells_when_it_began(bound_to_a_file: socket.socket) -> None:
    """Systemd takes a READY=1 that was sent before for none."""
    before = time.monotonic_ns() // 1_000

    assert systemd.reloading()

    first, second = bound_to_a_file.recv(4096).decode().splitlines()
    assert "RELOADING=1" == first
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1_000


def test_an_address_that_begins_with_an_at_sign_is_an_abstract_socket(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"sweeper-{uuid4()}"
    manager.bind(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")

    assert systemd.ready()
    assert b"READY=1" == manager.recv(4096)


@pytest.mark.parametrize("value", [None, ""])
def test_without_systemd_nothing_is_sent(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", value)

    assert not systemd.ready()


def test_a_notification_that_cannot_be_sent_raises_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed notification must not interrupt the shutdown that it announces."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))

    assert not systemd.stopping()


@pytest.mark.parametrize("pid", [None, str(os.getpid())], ids=["every process", "this process"])
def test_the_watchdog_interval_is_read_from_the_environment(
    pid: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", pid)

    assert timedelta(seconds=30) == systemd.watchdog()


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}],
    ids=["not set", "not a number", "another process"],
)
def test_without_a_watchdog_for_this_process_there_is_no_interval(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert systemd.watchdog() is None
