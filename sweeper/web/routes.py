"""The routes: every path, the authentication that it requires, and the answers to errors."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

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
from sweeper.web.actions import Actions
from sweeper.web.api import UNREADABLE, Api
from sweeper.web.auth import METRICS, PROBES, SIGN_IN, Auth
from sweeper.web.cache import Cache
from sweeper.web.openapi import OPERATIONS, Access, Operation
from sweeper.web.pages.dashboard import Dashboard
from sweeper.web.pages.renderer import UNAUTHORIZED, Renderer
from sweeper.web.pages.sign_in import SignIn
from sweeper.web.tokens import Scope

MAX_BODY = 16_384
"""Maximum size of a request's body, in bytes."""

_MACHINES = ("/api/", METRICS, *PROBES)
_HANDLED = (HTTPException, SweeperError, SQLAlchemyError, TimeoutError, Exception)


def routes(
    app: App, auth: Auth, stats: Stats, health: Health, wake: Callable[[], None]
) -> Starlette:
    """Return the ASGI application; *wake* makes the service's workers read the queues at once."""
    cache, renderer = Cache(app, stats, health), Renderer(auth)
    actions = Actions(app, wake)
    api = Api(cache, actions)
    return Starlette(
        routes=[
            *(_machines(operation, api, auth) for operation in OPERATIONS),
            *_people(auth, Dashboard(cache, actions, renderer), renderer),
        ],
        exception_handlers=dict.fromkeys(_HANDLED, _error_handler(renderer, api)),
        max_body_size=MAX_BODY,
    )


def is_for_machines(path: str) -> bool:
    """Return whether programs open this address: they get JSON, also for an error."""
    return path.startswith(_MACHINES)


def _machines(operation: Operation, api: Api, auth: Auth) -> Route:
    """Return the route of an operation, guarded as the description says."""
    guards: Mapping[Access, Callable[[Any], Any]] = {
        Access.ANYONE: lambda endpoint: endpoint,
        Access.LOCAL_OR_TOKEN: auth.require_local_or_token,
        Access.TOKEN: auth.require_token,
    }
    endpoint = guards[operation.access](getattr(api, operation.name))
    return Route(operation.path, endpoint, methods=[operation.method])


def _people(auth: Auth, dashboard: Dashboard, renderer: Renderer) -> Iterator[Route]:
    """Yield the routes of the pages, and of their forms."""
    sign_in = SignIn(auth.sessions, renderer)
    yield Route("/page/{name}", renderer.asset)
    yield Route(SIGN_IN, sign_in.show)
    yield Route(SIGN_IN, auth.require_sign_in(sign_in.begin), methods=["POST"])
    pages = {"/": dashboard.show}
    for path, page in pages.items():
        yield Route(path, auth.require_local_or_token(page))
    yield Route("/sign-out", auth.require_token(sign_in.end, Scope.READ), methods=["POST"])
    forms = {
        "/preview": dashboard.preview,
        "/sweep": dashboard.sweep,
        "/pause": dashboard.pause,
        "/resume": dashboard.resume,
        "/dead": dashboard.dead,
    }
    for path, form in forms.items():
        yield Route(path, auth.require_token(form), methods=["POST"])


def _error_handler(renderer: Renderer, api: Api) -> Callable[[Request, Exception], Response]:
    """Return the handler of every error: it answers machines with JSON, and people with a page."""

    def answer(request: Request, error: Exception) -> Response:
        status, message = _fault(error)
        if is_for_machines(request.url.path):
            response = api.error_response(status, message)
        else:
            response = renderer.error_response(request, status, message)
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
