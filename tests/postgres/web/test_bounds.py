"""The bounds of the web server: connections, headers, bodies and requests at the same time."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from threading import Event

import pytest
from starlette.responses import Response as Answer

from sweeper.app import App
from sweeper.web import auth
from sweeper.web.pages.dashboard import Dashboard
from tests.support.web_client import TOKEN, Site, served

OTHER_PEER = "127.0.0.2"
MACHINES = ("/livez", "/readyz", "/metrics")
PEOPLE = 8
"""Requests of people without a session that the server works on at the same time."""


def connect(site: Site, peer: str = "127.0.0.1") -> socket.socket:
    """Connect to the page from the address *peer*."""
    host, _, port = site.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20, source_address=(peer, 0))


@contextmanager
def half_open(site: Site, count: int, *peers: str) -> Iterator[list[socket.socket]]:
    """Hold *count* connections from each peer, whose requests never become whole."""
    with ExitStack() as held:
        sockets = [held.enter_context(connect(site, peer)) for _ in range(count) for peer in peers]
        for each in sockets:
            try:
                each.sendall(b"GET / HTTP/1.1\r\nhost: loc")
            except OSError:  # it was closed, to make room
                continue
        yield sockets


def answer(connection: socket.socket) -> bytes:
    """Return what the server answers until it closes the connection."""
    received = bytearray()
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return bytes(received)


def _send_for_ever(connection: socket.socket, request: bytes) -> None:
    while True:
        connection.sendall(request)
        Event().wait(0.01)


def status(received: bytes) -> int:
    """Return the status of an answer."""
    return int(received.split(b" ", 2)[1])


@pytest.mark.parametrize("count", [40, 200])
def test_half_open_connections_keep_nobody_else_out(site: Site, count: int) -> None:
    """L9: whoever holds connections without a request makes neither probes nor people wait."""
    with half_open(site, count, "127.0.0.1"):
        assert [200] * 4 == [site.get(path).status for path in (*MACHINES, "/")]


@pytest.mark.parametrize("count", [40, 200])
def test_half_open_connections_of_several_peers_keep_nobody_else_out(
    site: Site, count: int
) -> None:
    """L9: the bound in all holds where each peer stays within its own."""
    with half_open(site, count, OTHER_PEER, "127.0.0.3", "127.0.0.4", "127.0.0.5"):
        assert [200] * 4 == [site.get(path).status for path in (*MACHINES, "/")]


def test_connections_of_another_peer_are_not_closed_to_make_room(site: Site) -> None:
    with connect(site) as patient, half_open(site, 60, OTHER_PEER):
        patient.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")

        assert 200 == status(answer(patient))


def test_the_connection_that_has_waited_longest_is_closed_first(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before its time is over."""
    monkeypatch.setattr("sweeper.web.connection.HEADER_TIMEOUT", 60.0)
    with half_open(site, 48, OTHER_PEER) as held, connect(site, OTHER_PEER):
        assert b"" == answer(held[0])
        held[1].sendall(b"alhost\r\nconnection: close\r\n\r\n")
        assert 200 == status(answer(held[1]))


def test_a_header_that_does_not_arrive_in_time_closes_its_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then does not count as a header."""
    monkeypatch.setattr("sweeper.web.connection.HEADER_TIMEOUT", 0.5)
    with connect(site) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\n")
        slow.settimeout(0.1)
        closed = False
        for _ in range(100):
            try:
                slow.sendall(b"x")
                closed = slow.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
            if closed:
                break

    assert closed


def test_a_second_header_on_a_connection_is_timed_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.web.connection.HEADER_TIMEOUT", 0.5)
    request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n"
    with connect(site) as slow:
        slow.sendall(request + b"\r\n" + request)
        received = answer(slow)

    assert 1 == received.count(b"HTTP/1.1 200")


def test_a_body_that_goes_on_after_its_answer_closes_its_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.web.connection.HEADER_TIMEOUT", 0.5)
    with connect(site) as slow:
        slow.sendall(b"POST /api/sweep HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999\r\n\r\nx")

        assert 401 == status(answer(slow))


def test_a_reader_that_takes_nothing_loses_its_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.web.connection.HEADER_TIMEOUT", 0.5)
    request = b"GET /page/page.css HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        deaf.settimeout(20)
        host, _, port = site.address.rpartition(":")
        deaf.connect((host, int(port)))
        with pytest.raises(ConnectionError):
            _send_for_ever(deaf, request)


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["unfinished", "finished"])
def test_a_header_that_is_too_large_is_refused(site: Site, end: bytes) -> None:
    with connect(site) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 20_000 + end)
        connection.shutdown(socket.SHUT_WR)

        assert 431 == status(answer(connection))


def test_a_request_that_is_no_http_is_refused(site: Site) -> None:
    with connect(site) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")

        assert 400 == status(answer(connection))


@pytest.mark.parametrize(
    "body",
    [
        b"content-length: 20000\r\n\r\n" + b"x" * 20_000,
        b"transfer-encoding: chunked\r\n\r\n4e20\r\n" + b"x" * 20_000 + b"\r\n0\r\n\r\n",
    ],
    ids=["declared", "chunked"],
)
def test_a_body_that_is_too_large_is_refused(site: Site, body: bytes) -> None:
    head = f"POST /api/sweep HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
    with connect(site) as connection:
        connection.sendall(head.encode() + b"connection: close\r\n" + body)

        assert 413 == status(answer(connection))


def test_a_body_that_does_not_arrive_in_time_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_BODY_TIMEOUT", 0.3)
    head = f"POST /api/sweep HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
    with connect(site) as connection:
        connection.sendall(head.encode() + b"connection: close\r\ncontent-length: 9\r\n\r\n{")

        assert 408 == status(answer(connection))


def test_machines_are_served_while_people_s_requests_are_stuck(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L9: each kind of caller has a share of its own, and a full one answers 503 at once."""
    freed, began = Event(), Event()

    def stuck(*_: object) -> Answer:
        began.set()
        freed.wait(20)
        return Answer("")

    monkeypatch.setattr(Dashboard, "show", stuck)
    with served(app) as site, ThreadPoolExecutor(PEOPLE + 1) as people:
        asked = [people.submit(site.get, "/") for _ in range(PEOPLE + 1)]
        try:
            assert began.wait(10)
            refused = next(as_completed(asked, timeout=10)).result()
            machines = [site.get(path).status for path in MACHINES]
            program = site.post("/api/sweep", {"dry_run": True}).status
        finally:
            freed.set()
        statuses = sorted(each.result().status for each in asked)

    assert ("1", [200] * 3, 200) == (refused.headers["retry-after"], machines, program)
    assert [200] * PEOPLE + [503] == statuses
