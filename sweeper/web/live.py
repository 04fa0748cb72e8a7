"""Live pages: a stream of server-sent events that tells browsers when to look again.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from threading import Lock
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sweeper.monitoring.status import Status
from sweeper.web.cache import Cache

_TURN = 0.25  # seconds between two looks at the number that changes
_LOOK_EVERY = 2.0  # seconds between two looks at the database, while anybody listens
_ALIVE_EVERY = 5.0  # seconds after which a stream says that it is alive
_LENGTH = 120.0  # seconds of a stream; the browser opens the next one, and is checked again
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Live:
    """Tells whoever listens that something has changed: by an action, or in the database.

    over -- set at the stop of the service, which ends all streams
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._changes = 0
        self._shown: Any = None
        self._next_look = 0.0
        self._lock = Lock()
        self.over = False

    def changed(self) -> None:
        """Have all browsers look again: an action has changed something."""
        self._cache.forget()
        self._changes += 1

    def listen(self, _request: Request) -> Response:
        """Answer /live with the stream of changes."""
        return StreamingResponse(self._events(), media_type="text/event-stream", headers=_HEADERS)

    async def _events(self) -> AsyncIterator[str]:
        began = said = time.monotonic()
        seen = self._changes
        yield "retry: 1000\n\n"
        while not self.over and time.monotonic() < began + _LENGTH:
            if time.monotonic() >= self._next_look:
                await run_in_threadpool(self._look)
            if seen != self._changes:
                seen, said = self._changes, time.monotonic()
                yield "event: changed\ndata:\n\n"
            elif time.monotonic() > said + _ALIVE_EVERY:
                said = time.monotonic()
                yield "event: alive\ndata:\n\n"
            await asyncio.sleep(_TURN)

    def _look(self) -> None:
        """Notice what has changed in the database since the last look of any stream."""
        now = time.monotonic()
        if now < self._next_look or not self._lock.acquire(blocking=False):
            return
        try:
            self._next_look = now + _LOOK_EVERY
            shown = None, self._cache.health.ready()
            with suppress(SQLAlchemyError, TimeoutError):
                shown = _counts(self._cache.status.get()), self._cache.health.ready()
            if shown != self._shown:
                self._shown = shown
                self._changes += 1
        finally:
            self._lock.release()


def _counts(status: Status) -> Any:
    """Return what a person would notice in *status*: all but the ages, which always change."""
    rules = {
        name: (rule.overdue, rule.anomalies, rule.last_sweep_at, rule.last_sweep_ok)
        for name, rule in status.rules.items()
    }
    depths = {
        name: (depth.ready, depth.in_flight, depth.delayed) for name, depth in status.queues.items()
    }
    figures = {name: each for name, each in status.figures.items() if not name.endswith("_seconds")}
    return rules, depths, figures, status.dead.count, status.hidden.count, status.pauses
