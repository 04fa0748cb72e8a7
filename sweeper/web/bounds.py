"""The bounds on requests: a share for each kind of caller, so that none keeps the others out."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sweeper.web.auth import Auth, Caller
from sweeper.web.connection import MAX_HEADER
from sweeper.web.rate_limit import RateLimit


@dataclass(frozen=True, slots=True)
class Share:
    """What the callers of one kind may take.

    at_once     -- requests that are worked on at the same time, whoever sent them
    rate, burst -- of the requests of one peer: so many a second, and so many without a pause
    """

    at_once: int
    rate: float = 20
    burst: int = 200


# Together they are fewer at once than the threads that work on requests (40; one who listens needs
# none), and than the connections of one peer: whatever one kind takes, the others still find both.
SHARES: Mapping[Caller, Share] = {
    Caller.PROBE: Share(at_once=4, rate=50, burst=400),
    Caller.SCRAPER: Share(at_once=4),
    Caller.PROGRAM: Share(at_once=8),
    Caller.PERSON: Share(at_once=8),
    Caller.READER: Share(at_once=8),
    Caller.LISTENER: Share(at_once=8, rate=2, burst=50),
    Caller.GUESSER: Share(at_once=4),
    Caller.OTHER_SITE: Share(at_once=2, rate=1, burst=20),
}


class Bounds:
    """Middleware that refuses the requests that are too large, too many, or too many at once."""

    def __init__(self, inner: ASGIApp, auth: Auth) -> None:
        self._inner = inner
        self._auth = auth
        self._limits = {
            caller: RateLimit(share.rate, share.burst) for caller, share in SHARES.items()
        }
        self._running = Counter[Caller]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or answer 431, 429 or 503."""
        request = Request(scope)
        caller = self._auth.caller(request)
        refusal = self._refusal(request, caller)
        if refusal:
            await refusal(scope, receive, send)
            return
        self._running[caller] += 1
        try:
            await self._inner(scope, receive, send)
        finally:
            self._running[caller] -= 1

    def _refusal(self, request: Request, caller: Caller) -> JSONResponse | None:
        share = SHARES[caller]
        if sum(len(name) + len(value) for name, value in request.headers.raw) > MAX_HEADER:
            return _refused(431, "the header is too large")
        peer = request.client.host if request.client else ""
        if not self._limits[caller].take(peer, time.monotonic()):
            return _refused(429, "too many requests")
        if self._running[caller] >= share.at_once:
            return _refused(503, "too many requests at once")
        return None


def _refused(status: int, error: str) -> JSONResponse:
    return JSONResponse({"success": False, "error": error}, status, {"retry-after": "1"})
