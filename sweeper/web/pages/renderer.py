"""The renderer: turns templates into pages, with the header that all pages share."""

import time
from collections.abc import Sequence
from functools import partial
from importlib import resources
from secrets import token_hex
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sweeper import redact
from sweeper.event import INSTANCE
from sweeper.humanize import age, at, capped, clocks, number, visible
from sweeper.monitoring.about.search import Found
from sweeper.monitoring.list_page import MOST_COUNTED
from sweeper.remedies import LEFT_ALONE, Remedy
from sweeper.rule import MOST_ANOMALIES
from sweeper.web.auth import COOKIE, Auth

UNAUTHORIZED = 401
NOT_FOUND = 404
_SEE_OTHER = 303
_ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "mark.svg": "image/svg+xml"}
_NAVIGATION = (
    ("/", "Now"),
    ("/dead", "Dead letters"),
    ("/waiting", "Waiting"),
    ("/sweeps", "Sweeps"),
    ("/history", "History"),
    ("/acts", "Acts"),
)


class Renderer:
    """Renders pages for whoever asks; one for all pages."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._templates = Environment(
            loader=PackageLoader("sweeper.web.pages", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "address": address,
            "age": age,
            "at": at,
            "number": number,
            "capped": capped,
            "clocks": clocks,
        }
        self._templates.globals |= {
            "instance": INSTANCE,
            "left_alone": LEFT_ALONE,
            "most_anomalies": MOST_ANOMALIES,
            "most_counted": MOST_COUNTED,
            "navigation": _NAVIGATION,
            "new_once": partial(token_hex, 8),
        }
        folder = resources.files("sweeper.web.pages").joinpath("templates")
        self._assets = {name: folder.joinpath(name).read_bytes() for name in _ASSETS}

    def asset(self, request: Request) -> Response:
        """Answer /page/... with a static file, without authentication."""
        name = request.path_params["name"]
        if name not in _ASSETS:
            raise HTTPException(404)
        return Response(self._assets[name], media_type=_ASSETS[name])

    def page(self, name: str, request: Request, **context: Any) -> Response:
        """Return the page of a template.

        It finds who is signed in as `signed_in`, by the token's name; the CSRF token for the form
        that signs out as `seal`, and for those that act as `csrf_token`, if the token may act.
        """
        session = request.cookies.get(COOKIE, "")
        token = self._auth.sessions.token_of(session, time.time())
        seal = self._auth.sessions.csrf_token(session) if token else None
        query = f"?{request.url.query}" if request.url.query else ""
        html = self._templates.get_template(name).render(
            path=request.url.path,
            here=f"{_as_sent(request)}{query}" if request.method == "GET" else "/",
            signed_in=token.name if token else None,
            seal=seal,
            csrf_token=seal if token and token.may_act else None,
            can_sign_in=self._auth.sessions.exist,
            **context,
        )
        return HTMLResponse(html)

    def unknown(self, request: Request, typed: str, tried: Sequence[str]) -> Response:
        """Return the page that says what was looked for, and in what it was not found."""
        answer = self.page("search.html", request, found=Found(typed, (), tried))
        answer.status_code = NOT_FOUND
        return answer

    def error_response(
        self, request: Request, status: int, message: str, remedy: Remedy | None = None
    ) -> Response:
        """Return the page for an error, with what to do about it, if that is known."""
        context = {"status": status, "message": message, "remedy": remedy}
        answer = self.page("refusal.html", request, **context)
        answer.status_code = status
        return answer


def address(key: str) -> str:
    """Return the address of the page of *key*, whatever characters it has."""
    # Browsers take a path that ends with one of these, however it is written, for another one.
    in_query = key in {".", ".."}
    return f"/orders/{'?key=' if in_query else ''}{quote(key, safe='')}"


def back_to(path: str, **results: int) -> Response:
    """Return the answer to a form: the browser opens *path*, which tells the *results*."""
    query = "&".join(f"{name}={count}" for name, count in results.items())
    return RedirectResponse(f"{path}?{query}" if query else path, _SEE_OTHER)


def _as_sent(request: Request) -> str:
    """Return the path of *request* as it was sent, with its escapes."""
    raw: bytes = request.scope["raw_path"]
    return raw.decode(errors="replace")


def _shown(value: Any) -> Any:
    """Mask a text, and make its control characters visible; `| e` in a template leaves it as is."""
    return visible(redact.text(value)) if type(value) is str else value
