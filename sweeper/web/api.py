"""The endpoints for machines: health, metrics, the platform's documents, and the JSON API."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sweeper import redact
from sweeper.errors import UsageError
from sweeper.monitoring import prometheus
from sweeper.monitoring.status import Status
from sweeper.postgres import clock
from sweeper.queue.json_text import json_value
from sweeper.queue.wire import faults
from sweeper.web import openapi, platform_api
from sweeper.web.actions import Actions, PauseRequest, ResumeRequest, SweepRequest
from sweeper.web.auth import actor
from sweeper.web.cache import Cache

Asked = TypeVar("Asked", bound=BaseModel)

UNREADABLE = "the database cannot be read at this moment"


class Api:
    """Answers the requests of machines."""

    def __init__(self, cache: Cache, actions: Actions) -> None:
        self._cache = cache
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
        figures = self._cache.app.catalog.figures
        text = prometheus.exposition(self._status(), self._stats, self._health, figures)
        return Response(text, headers={"content-type": prometheus.TYPE})

    def stats(self, _request: Request) -> Response:
        """Answer /api/monitoring/queue/stats for the platform's dashboards."""
        status, completed = self._cache.status.get(), self._cache.completed.get()
        return _done(platform_api.stats(status, completed, self._stats))

    def health(self, _request: Request) -> Response:
        """Answer /api/monitoring/queue/health; 503 with the reasons if the service is not ready."""
        status, reasons = self._status(), self._health.ready()
        if status is None:
            reasons = [UNREADABLE, *reasons]
        at, running = clock.iso(clock.now()), not self._health.alive()
        data = platform_api.health(status, self._stats, running=running, at=at)
        if not reasons:
            return _done(data | {"overall": "healthy"})
        return _failed(503, "; ".join(reasons), data=data | {"overall": "unhealthy"})

    def info(self, _request: Request) -> Response:
        """Answer /api/monitoring/queue/info for the platform's dashboards."""
        status, completed = self._cache.status.get(), self._cache.completed.get()
        name, running = self._cache.app.settings.queue.name, not self._health.alive()
        return _done(platform_api.info(status, completed, self._stats, name=name, running=running))

    def description(self, _request: Request) -> Response:
        """Answer /api/openapi.json with the description of all that this class answers."""
        return JSONResponse(openapi.describe(self._cache.app.catalog))

    def sweep(self, request: Request, body: bytes) -> Response:
        """Scan as the JSON body requests, and answer with the report; 409 if the brake held."""
        sweep_request = _parsed(SweepRequest, body if body.strip() else b"{}")
        report = self._actions.sweep(sweep_request, actor(request))
        self._cache.forget()
        if report.braked:
            return _failed(409, "the brake held: see data, and set max", data=report.as_json())
        return _done(report.as_json())

    def pause(self, request: Request, body: bytes) -> Response:
        """Pause what the JSON body names, and answer with the pause."""
        paused = self._actions.pause(_parsed(PauseRequest, body), actor(request))
        self._cache.forget()
        return _done(paused.as_json())

    def resume(self, request: Request, body: bytes) -> Response:
        """Let the JSON body's target go on, and answer with what was paused."""
        resumed = self._actions.resume(_parsed(ResumeRequest, body).target, actor(request))
        self._cache.forget()
        return _done({"resumed": resumed})

    def test_queue(self, request: Request, body: bytes) -> Response:
        """Enqueue the job of the JSON body, which holds `type` and the fields of the payload."""
        payload = _object(body)
        kind = payload.pop("type", None)
        if not isinstance(kind, str):
            message = "type: the name of a job type is missing"
            raise UsageError(message)
        msg_id, queue = self._actions.enqueue(kind, payload, actor(request))
        self._cache.forget()
        return _done({"msg_id": msg_id, "queue": queue})

    def error_response(self, status: int, message: str) -> Response:
        """Return the JSON document for an error, without secrets."""
        return _failed(status, redact.text(message))

    def _status(self) -> Status | None:
        try:
            return self._cache.status.get()
        except (SQLAlchemyError, TimeoutError):
            return None


def _parsed(kind: type[Asked], body: bytes) -> Asked:
    """Return the request in *body*; a value of another type than described is refused."""
    try:
        return kind.model_validate(_object(body), strict=True)
    except ValidationError as error:
        raise UsageError(faults(error)) from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json_value(body.decode())
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not isinstance(value, dict):
        message = "the body is no JSON object"
        raise UsageError(message)
    return value


def _done(data: Mapping[str, Any]) -> Response:
    return JSONResponse({"success": True, "data": data})


def _failed(status: int, error: str, **more: Any) -> Response:
    return JSONResponse({"success": False, "error": error, **more}, status)
