"""The page as it is served, without the rest of the service; and a visitor who is no browser."""

import json
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

TOKEN = "kunci-kunci"  # noqa: S105 -- nobody else has such a door


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: HTTPMessage
    text: str

    @property
    def document(self) -> Any:
        """The JSON in it."""
        return json.loads(self.text)


@dataclass(frozen=True, slots=True)
class Site:
    """Where it is served, and what the service would feed it with.

    woken -- set by whoever acts
    """

    address: str
    counters: Stats
    health: Health
    woken: Event

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{self.address}/"

    def get(self, path: str, **headers: str) -> Answer:
        """Read."""
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: object = None, *, token: str | None = TOKEN) -> Answer:
        """Act, as a machine does."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return self.ask("POST", path, b"" if body is None else json.dumps(body).encode(), headers)

    def submit(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Act, as a browser's form does; underscores in a header's name are dashes."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urlencode(fields).encode(), kind | headers)

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Make one request."""
        connection = HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()


@contextmanager
def served(app: App, *, healthy: bool = True) -> Iterator[Site]:
    """Serve *app*'s page for a while; a healthy service has scanned and read a moment ago."""
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
