"""Serve the page without the rest of the service, and make HTTP requests to it."""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPConnection, HTTPMessage
from threading import Event
from typing import Any
from urllib.parse import urlencode

from sweeper.app import App
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.web.server import Web

TOKEN = "kunci-kunci-yang-sangat-panjang-sekali"  # noqa: S105 -- a token for tests


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a request."""

    status: int
    headers: HTTPMessage
    text: str

    @property
    def document(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.text)


@dataclass(frozen=True, slots=True)
class Site:
    """A page that is served, with the objects that the service would update.

    address -- host and port
    woken   -- set when an action wakes the drain loops
    """

    address: str
    counters: Stats
    health: Health
    woken: Event

    @property
    def url(self) -> str:
        """The URL of the page."""
        return f"http://{self.address}/"

    def get(self, path: str, **headers: str) -> Response:
        """Make a GET request."""
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: object = None, *, token: str | None = TOKEN) -> Response:
        """Make a POST request with a JSON body, as a program does."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return self.ask("POST", path, b"" if body is None else json.dumps(body).encode(), headers)

    def submit(self, path: str, fields: Mapping[str, str], **headers: str) -> Response:
        """Make a POST request as a form in a browser does."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urlencode(fields).encode(), kind | headers)

    def raw(self, request: str) -> int:
        """Send *request* as it stands, and return the status of the answer."""
        host, _, port = self.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(request.encode())
            return int(connection.recv(65_536).split(b" ", 2)[1])

    def ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Response:
        """Make a request on a connection of its own."""
        connection = HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            received = connection.getresponse()
            return Response(received.status, received.headers, received.read().decode())
        finally:
            connection.close()


def sign_in(site: Site, token: str = TOKEN) -> dict[str, str]:
    """Sign in, and return the headers that a browser sends from then on."""
    answer = site.submit("/sign-in", {"token": token})
    assert answer.status == 303
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


def csrf_token(site: Site, session: dict[str, str]) -> str:
    """Return the CSRF token in the forms of a session."""
    found = re.search(r'name="seal" value="(\w+)"', site.get("/", **session).text)
    assert found
    return found[1]


@contextmanager
def served(app: App, *, healthy: bool = True) -> Iterator[Site]:
    """Serve the page of *app*.

    healthy -- whether the health check is told that rules were scanned and queues were read
    """
    hour = timedelta(hours=1)
    counters, woken = Stats(), Event()
    health = Health(dict.fromkeys(app.rules, hour), hour, {}, hour)
    if healthy:
        health.read()
        for rule in app.rules:
            health.scanned(rule)
    web = Web(app, counters, health, woken.set)
    web.open()
    try:
        yield Site(str(web.address), counters, health, woken)
    finally:
        web.close()
