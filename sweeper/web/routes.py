"""The routes: every path, the authentication that it requires, and the answers to errors."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sweeper import events, remedies
from sweeper.errors import BusyError, ChangedError, SweeperError, UsageError
from sweeper.postgres.errors import in_one_line
from sweeper.web.actions import Actions
from sweeper.web.api import UNREADABLE, Api
from sweeper.web.auth import LIVE, METRICS, PROBES, SIGN_IN, Auth, Endpoint
from sweeper.web.cache import Cache
from sweeper.web.live import Live
from sweeper.web.once import Once
from sweeper.web.openapi import OPERATIONS
from sweeper.web.operation import Access
from sweeper.web.pages.acts import ActsPage
from sweeper.web.pages.dashboard import Dashboard
from sweeper.web.pages.dead import DeadLetters
from sweeper.web.pages.explanation import ExplanationPage
from sweeper.web.pages.history import HistoryPage
from sweeper.web.pages.letter import LetterPage
from sweeper.web.pages.lists import Lists
from sweeper.web.pages.renderer import UNAUTHORIZED, Renderer
from sweeper.web.pages.search import SearchPage
from sweeper.web.pages.sign_in import SignIn
from sweeper.web.pages.sweep import SweepPage
from sweeper.web.tokens import Scope
from sweeper.web.v1.api import ApiV1
from sweeper.web.v1.operations import PREFIX
from sweeper.web.v1.readings import Readings

MAX_BODY = 16_384
"""Maximum size of a request's body, in bytes."""

_MACHINES = ("/api/", METRICS, *PROBES)
_HANDLED = (HTTPException, SweeperError, SQLAlchemyError, TimeoutError, Exception)


class Key(PathConvertor):
    """A key in a path: any text, also with slashes and line ends."""

    regex = "(?s:.*)"


register_url_convertor("key", Key())


def routes(auth: Auth, cache: Cache, live: Live, wake: Callable[[], None]) -> Starlette:
    """Return the ASGI application; *wake* makes the service's workers read the queues at once."""

    def acted() -> None:
        live.changed()
        wake()

    renderer, actions = Renderer(auth), Actions(cache.app, acted)
    v1 = ApiV1(cache.app, actions)
    api = Api(cache, actions, v1)
    return Starlette(
        routes=[
            *_machines(api, Readings(cache), v1, auth),
            Route(LIVE, auth.require_local_or_token(live.listen)),
            *_people(auth, cache, actions, renderer),
        ],
        exception_handlers=dict.fromkeys(_HANDLED, _error_handler(renderer, api)),
        max_body_size=MAX_BODY,
    )


def is_for_machines(path: str) -> bool:
    """Return whether programs open this address: they get JSON, also for an error."""
    return path.startswith(_MACHINES)


def _machines(api: Api, readings: Readings, acts: ApiV1, auth: Auth) -> Iterator[Route]:
    """Yield a route for each address of the description, guarded as it says there."""
    guards: Mapping[Access, Callable[[Any], Any]] = {
        Access.ANYONE: lambda endpoint: endpoint,
        Access.LOCAL_OR_TOKEN: auth.require_local_or_token,
        Access.TOKEN: auth.require_token,
    }
    by_path = dict[str, dict[str, Any]]()
    for each in OPERATIONS:
        v1 = readings if each.method == "GET" else acts
        endpoint = getattr(v1 if each.path.startswith(PREFIX) else api, each.name)
        by_path.setdefault(each.path, {})[each.method] = guards[each.access](endpoint)
    for path, endpoints in by_path.items():
        yield Route(path, _by_method(endpoints), methods=[*endpoints])


def _by_method(endpoints: Mapping[str, Any]) -> Endpoint:
    """Return the endpoint of an address that does something else for each method."""

    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        response: Response = await endpoints[method](request)
        return response

    return answer


def _people(auth: Auth, cache: Cache, actions: Actions, renderer: Renderer) -> Iterator[Route]:
    """Yield the routes of the pages, and of their forms."""
    app, sign_in = cache.app, SignIn(auth.sessions, renderer)
    dashboard = Dashboard(cache, actions, renderer)
    dead, lists = DeadLetters(cache, actions, renderer), Lists(app, renderer)
    yield Route("/page/{name}", renderer.asset)
    yield Route(SIGN_IN, sign_in.show)
    yield Route(SIGN_IN, auth.require_sign_in(sign_in.begin), methods=["POST"])
    pages = {
        "/": dashboard.show,
        "/acts": ActsPage(app.act_reader, renderer).show,
        "/history": HistoryPage(cache, renderer).show,
        "/search": SearchPage(app, renderer).show,
        "/orders/{key:key}": ExplanationPage(app, renderer).show,
        "/dead/{msg_id}": LetterPage(app, renderer).show,
        "/sweeps/{sweep_id:uuid}": SweepPage(app, renderer).show,
        "/dead": dead.show,
        "/waiting": lists.waiting,
        "/sweeps": lists.sweeps,
        "/anomalies": lists.anomalies,
        "/overdue": lists.overdue,
        "/lists/{name}": lists.exported,
    }
    for path, page in pages.items():
        yield Route(path, auth.require_local_or_token(page))
    yield Route("/sign-out", auth.require_token(sign_in.end, Scope.READ), methods=["POST"])
    forms = {
        "/preview": dashboard.preview,
        "/sweep": dashboard.sweep,
        "/pause": dashboard.pause,
        "/resume": dashboard.resume,
        "/dead": dead.act,
        "/dead/preview": dead.preview,
    }
    once = Once()
    for path, form in forms.items():
        yield Route(path, auth.require_token(once.once(form)), methods=["POST"])


def _error_handler(renderer: Renderer, api: Api) -> Callable[[Request, Exception], Response]:
    """Return the handler of every error: it answers machines with JSON, and people with a page."""

    def answer(request: Request, error: Exception) -> Response:
        status, message = _fault(error)
        if is_for_machines(request.url.path):
            response = api.error_response(status, message)
        else:
            remedy = remedies.DATABASE_AWAY if message == UNREADABLE else None
            response = renderer.error_response(request, status, message, remedy)
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
        case BusyError() | ChangedError():
            return 409, str(error)
        case SweeperError():
            return 503, str(error)
        case SQLAlchemyError() | TimeoutError():
            return 503, UNREADABLE
        case _:
            events.WEB_FAILED.log(error=in_one_line(error))
            return 500, "unexpected; the log says more"
