"""The stream of changes that open pages listen to."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse

import pytest

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.verbs import HOUR, OpenApp
from tests.support.web_client import TOKEN, Site, served

LISTENERS = 8
"""Pages that may listen at the same time; the others look every few seconds."""


@contextmanager
def listening(site: Site, **headers: str) -> Iterator[HTTPResponse]:
    """Open the stream."""
    connection = HTTPConnection(site.address, timeout=20)
    try:
        connection.request("GET", "/live", headers=headers)
        yield connection.getresponse()
    finally:
        connection.close()


def next_event(stream: HTTPResponse) -> str:
    """Return the name of the next event; empty at the end of the stream."""
    while line := stream.readline():
        if line.startswith(b"event: "):
            return line.removeprefix(b"event: ").decode().strip()
    return ""


def next_change(stream: HTTPResponse) -> float:
    """Wait for a change; return how many seconds that took."""
    began = time.monotonic()
    while (event := next_event(stream)) != "changed":
        assert event == "alive"
    return time.monotonic() - began


def test_a_change_in_the_database_is_told(app: App, site: Site, shop: Shop) -> None:
    app.status_reader.read()  # the first one is slow, and what is slow is read again less often
    with listening(site) as stream:
        assert "text/event-stream; charset=utf-8" == stream.headers["content-type"]
        next_change(stream)  # what there is
        shop.order(age=HOUR)
        assert next_change(stream) < 10


def test_an_action_is_told_at_once(site: Site) -> None:
    with listening(site) as stream:
        next_change(stream)
        site.post("/api/pause", {"target": "expire_dp", "reason": "a look", "for": "1h"})
        assert next_change(stream) < 1.5


def test_a_stream_without_changes_says_that_it_is_alive(site: Site) -> None:
    with listening(site) as stream:
        next_change(stream)
        assert "alive" == next_event(stream)


def test_a_page_that_listens_does_not_hold_up_the_stop(app: App) -> None:
    with ExitStack() as stack:
        site = stack.enter_context(served(app))
        stream = stack.enter_context(listening(site))
        next_change(stream)
        began = time.monotonic()
        stack.pop_all().close()

    assert time.monotonic() - began < 1.5


def test_too_many_listeners_keep_nobody_else_out(site: Site) -> None:
    """L9: a page that is told nothing looks by itself."""
    with ExitStack() as stack:
        streams = [stack.enter_context(listening(site)) for _ in range(LISTENERS + 2)]
        assert [200] * LISTENERS + [503] * 2 == [stream.status for stream in streams]
        assert [200] * 3 == [site.get(path).status for path in ("/", "/livez", "/metrics")]


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"authorization": f"Bearer {TOKEN}"}, 200)]
)
def test_only_who_may_read_the_page_is_told(
    open_app: OpenApp, headers: dict[str, str], status: int
) -> None:
    app = open_app(web__token=TOKEN, web__trust_local=False, web__port=0)
    with served(app) as site, listening(site, **headers) as stream:
        assert status == stream.status
