"""The endpoints for machines: health, metrics, the platform's documents, and the JSON API."""

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sweeper import redact
from sweeper.errors import UsageError
from sweeper.monitoring import prometheus
from sweeper.monitoring.status import Status
from sweeper.postgres import clock
from sweeper.web import openapi, platform_api
from sweeper.web.actions import Actions, ResumeRequest
from sweeper.web.answers import done, failed, object_of, parsed
from sweeper.web.auth import acting
from sweeper.web.cache import Cache
from sweeper.web.v1.api import ApiV1

UNREADABLE = "the database cannot be read at this moment"


class Api:
    """Answers the requests of machines."""

    def __init__(self, cache: Cache, actions: Actions, v1: ApiV1) -> None:
        self._cache = cache
        self._v1 = v1
        self._stats = cache.stats
        self._health = cache.health
        self._actions = actions

    async def alive(self, _request: Request) -> Response:
        """Answer /livez with the loops that hang; 503 if there are any."""
        hanging = self._health.alive()
        return JSONResponse({"alive": not hanging, "hanging": hanging}, 503 if hanging else 200)

    async def ready(self, _request: Request) -> Response:
        """Answer /readyz with the reasons why the service is not ready; 503 if there are any."""
        reasons = self._health.ready()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    def metrics(self, _request: Request) -> Response:
        """Answer /metrics, also while the database cannot be read."""
        catalog = self._cache.app.catalog
        text = prometheus.exposition(self._status(), self._stats, self._health, catalog)
        return Response(text, headers={"content-type": prometheus.TYPE})

    def stats(self, _request: Request) -> Response:
        """Answer /api/monitoring/queue/stats for the platform's dashboards."""
        status, completed = self._cache.status.get(), self._cache.completed.get()
        return done(platform_api.stats(status, completed, self._stats))

    def health(self, _request: Request) -> Response:
        """Answer /api/monitoring/queue/health; 503 with the reasons if the service is not ready."""
        status, reasons = self._status(), self._health.ready()
        if status is None:
            reasons = [UNREADABLE, *reasons]
        at, running = clock.iso(clock.now()), not self._health.alive()
        data = platform_api.health(status, self._stats, running=running, at=at)
        if not reasons:
            return done(data | {"overall": "healthy"})
        return failed(503, "; ".join(reasons), data=data | {"overall": "unhealthy"})

    def info(self, _request: Request) -> Response:
        """Answer /api/monitoring/queue/info for the platform's dashboards."""
        status, completed = self._cache.status.get(), self._cache.completed.get()
        name, running = self._cache.app.settings.queue.name, not self._health.alive()
        return done(platform_api.info(status, completed, self._stats, name=name, running=running))

    def description(self, _request: Request) -> Response:
        """Answer /api/openapi.json with the description of all that this class answers."""
        return JSONResponse(openapi.describe(self._cache.app.catalog))

    def sweep(self, request: Request, body: bytes) -> Response:
        """Answer /api/sweep as version 1 answers a new sweep."""
        return self._v1.new_sweep(request, body)

    def pause(self, request: Request, body: bytes) -> Response:
        """Answer /api/pause as version 1 answers a new pause."""
        return self._v1.new_pause(request, body)

    def resume(self, request: Request, body: bytes) -> Response:
        """Let the JSON body's target go on, and answer with what was paused."""
        resumed = self._actions.resume(parsed(ResumeRequest, body).target, acting(request))
        return done({"resumed": resumed})

    def test_queue(self, request: Request, body: bytes) -> Response:
        """Enqueue the job of the JSON body, which holds `type` and the fields of the payload."""
        payload = object_of(body)
        kind = payload.pop("type", None)
        if not isinstance(kind, str):
            message = "type: the name of a job type is missing"
            raise UsageError(message)
        msg_id, queue = self._actions.enqueue(kind, payload, acting(request))
        return done({"msg_id": msg_id, "queue": queue})

    def error_response(self, status: int, message: str) -> Response:
        """Return the JSON document for an error, without secrets."""
        return failed(status, redact.text(message))

    def _status(self) -> Status | None:
        try:
            return self._cache.status.get()
        except (SQLAlchemyError, TimeoutError):
            return None
