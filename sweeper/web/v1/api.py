"""The acts of the API, one method for each row of the table of its addresses that acts."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sweeper.app import App
from sweeper.job import Priority
from sweeper.web.actions import Actions, PauseRequest, SweepRequest
from sweeper.web.answers import done, failed, parsed
from sweeper.web.auth import acting
from sweeper.web.v1.requests import DeadLetterChoice, EnqueueRequest

_NAMED = 1_000  # ids that an answer lists


class ApiV1:
    """Answers requests to act under /api/v1."""

    def __init__(self, app: App, actions: Actions) -> None:
        self._app = app
        self._actions = actions

    def new_sweep(self, request: Request, body: bytes) -> Response:
        """Scan as the body requests; 409 with the report if too many are due."""
        wanted = parsed(SweepRequest, body if body.strip() else b"{}")
        report = self._actions.sweep(wanted, acting(request))
        if report.braked:
            return failed(
                409, "stopped: too many orders due; see data, and set max", data=report.as_json()
            )
        return done(report.as_json())

    def take_dead_letters(self, request: Request, body: bytes) -> Response:
        """Retry or drop the dead letters of the body, 10,000 at most; 409 if not as expected."""
        wanted = parsed(DeadLetterChoice, body)
        take = self._actions.retry if wanted.do == "retry" else self._actions.drop
        seen = wanted.expected.seen if wanted.expected else None
        ids = take(wanted.filter, acting(request), wanted.why, seen)
        return done({"count": len(ids), "ids": ids[:_NAMED]})

    def new_pause(self, request: Request, body: bytes) -> Response:
        """Pause what the body names."""
        paused = self._actions.pause(parsed(PauseRequest, body), acting(request))
        return done(paused.as_json())

    def end_pause(self, request: Request, _body: bytes) -> Response:
        """Let a target go on; 404 for what cannot be paused."""
        target = request.path_params["target"]
        if target not in (*self._app.pauses.targets, self._app.queues.outbound):
            raise HTTPException(404, "there is nothing of that name that can be paused")
        resumed = self._actions.resume(target, acting(request))
        return done({"resumed": resumed})

    def new_job(self, request: Request, body: bytes) -> Response:
        """Enqueue the job of the body."""
        wanted = parsed(EnqueueRequest, body)
        priority = Priority(wanted.priority) if wanted.priority else None
        msg_id, queue = self._actions.enqueue(
            wanted.type, wanted.payload, acting(request), priority, wanted.delay
        )
        return done({"msg_id": msg_id, "queue": queue})
