"""Every address that is served, who may open it, and what answers where something goes wrong."""

from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sweeper import events
from sweeper.app import App
from sweeper.errors import BusyError, SweeperError, UsageError
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.postgres.errors import in_one_line
from sweeper.web.actions import Hands
from sweeper.web.api import UNREADABLE, Faces
from sweeper.web.auth import Auth
from sweeper.web.cache import Readings
from sweeper.web.dashboard import UNAUTHORIZED, Board

LARGEST = 16_384
"""Bytes of a request's body, at most."""

_MACHINES = ("/api/", "/metrics", "/livez", "/readyz")
_HANDLED = (HTTPException, SweeperError, SQLAlchemyError, TimeoutError, Exception)


def doors(app: App, counters: Stats, health: Health, wake: Callable[[], None]) -> Starlette:
    """Return the application."""
    readings = Readings(app, counters, health)
    guard, hands = Auth(app.settings.web), Hands(app, wake)
    board, faces = Board(readings, hands, guard), Faces(readings, hands)
    queue = "/api/monitoring/queue"
    return Starlette(
        routes=[
            Route("/livez", faces.alive),
            Route("/readyz", faces.ready),
            Route("/metrics", guard.reads(faces.metrics)),
            Route(f"{queue}/stats", guard.reads(faces.stats)),
            Route(f"{queue}/health", guard.reads(faces.health)),
            Route(f"{queue}/info", guard.reads(faces.info)),
            Route("/api/sweep", guard.acts(faces.sweep), methods=["POST"]),
            Route("/api/test-queue", guard.acts(faces.test_queue), methods=["POST"]),
            Route("/", guard.reads(board.show)),
            Route("/page/{name}", board.asset),
            Route("/sign-in", guard.signs_in(board.sign_in), methods=["POST"]),
            Route("/sign-out", guard.acts(board.sign_out), methods=["POST"]),
            Route("/preview", guard.acts(board.preview), methods=["POST"]),
            Route("/sweep", guard.acts(board.sweep), methods=["POST"]),
            Route("/dead", guard.acts(board.dead), methods=["POST"]),
        ],
        exception_handlers=dict.fromkeys(_HANDLED, _answering(board, faces)),
        max_body_size=LARGEST,
    )


def _answering(board: Board, faces: Faces) -> Callable[[Request, Exception], Response]:
    """Return what answers for whatever was raised: JSON to machines, a page to people."""

    def answer(request: Request, error: Exception) -> Response:
        status, told = _fault(error)
        machine = request.url.path.startswith(_MACHINES)
        response = faces.refuse(status, told) if machine else board.refuse(request, status, told)
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})
        if status == UNAUTHORIZED:
            response.headers["www-authenticate"] = "Bearer"
        return response

    return answer


def _fault(error: Exception) -> tuple[int, str]:
    match error:
        case HTTPException():
            return error.status_code, error.detail.lower()
        case UsageError():
            return 400, str(error)
        case BusyError():
            return 409, str(error)
        case SweeperError():
            return 503, str(error)
        case SQLAlchemyError() | TimeoutError():
            return 503, UNREADABLE
        case _:
            events.WEB_FAILED.log(error=in_one_line(error))
            return 500, "unexpected; the log says more"
