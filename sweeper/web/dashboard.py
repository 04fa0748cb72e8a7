"""The dashboard: an HTML page with the status and the backlog, and the forms for actions."""

import time
from importlib import resources
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sweeper import redact
from sweeper.durations import format_duration
from sweeper.errors import UsageError
from sweeper.event import INSTANCE
from sweeper.humanize import age, at, capped, number, visible
from sweeper.monitoring.backlog import Backlog
from sweeper.monitoring.status import Status
from sweeper.postgres import clock
from sweeper.queue.pgmq import Queues
from sweeper.queue.wire import faults
from sweeper.rule import MOST_ANOMALIES
from sweeper.web.actions import Actions, PauseRequest, SweepRequest
from sweeper.web.auth import COOKIE, Auth, fields, peer
from sweeper.web.cache import Cache
from sweeper.web.sessions import SESSION
from sweeper.web.summary import numbers, summarize

_ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "mark.svg": "image/svg+xml"}
UNAUTHORIZED = 401
_SEE_OTHER = 303
_PAUSE = ("target", "for", "reason")
_RESULTS = ("swept", "retried", "dropped")


class Dashboard:
    """Renders the pages, and answers forms with a redirect to the dashboard."""

    def __init__(self, cache: Cache, actions: Actions, auth: Auth) -> None:
        self._cache = cache
        self._actions = actions
        self._auth = auth
        self._settings = cache.app.settings
        self._pages = Environment(
            loader=PackageLoader("sweeper.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._pages.filters |= {"age": age, "at": at, "number": number, "capped": capped}
        self._pages.globals["most_anomalies"] = MOST_ANOMALIES
        folder = resources.files("sweeper.web").joinpath("templates")
        self._assets = {name: folder.joinpath(name).read_bytes() for name in _ASSETS}

    def asset(self, request: Request) -> Response:
        """Answer /page/... with a static file, without authentication."""
        name = request.path_params["name"]
        if name not in _ASSETS:
            raise HTTPException(404)
        return Response(self._assets[name], media_type=_ASSETS[name])

    def show(self, request: Request) -> Response:
        """Answer / with the dashboard, without status and backlog if the database is down."""
        app, stats = self._cache.app, self._cache.stats
        status, backlog = self._read()
        results = {name: request.query_params.get(name, "") for name in _RESULTS}
        return self.page(
            "dashboard.html",
            request,
            now=clock.now(),
            summary=summarize(status, self._cache.health.ready(), app.rules),
            numbers=numbers(status, app.catalog.figures) if status else [],
            status=status,
            backlog=backlog,
            stats=stats,
            names=_names(app.queues),
            rules={
                name: {
                    "older_than": format_duration(rule.older_than),
                    "every": format_duration(rule.every),
                }
                for name, rule in self._settings.rules.items()
                if rule.enabled
            },
            limit=self._settings.safety.max_per_sweep,
            targets=app.pauses.targets,
            can_sign_in=self._auth.sessions.exist,
            results={name: count for name, count in results.items() if count.isdecimal()},
        )

    def preview(self, request: Request, body: bytes) -> Response:
        """Answer the form for a sweep with a preview, which is the result of a dry run."""
        sweep_request = _sweep_request(body)
        report = self._actions.sweep(sweep_request, peer(request))
        total = sum(found.enqueued for found in report.rules.values())
        return self.page(
            "preview.html",
            request,
            sweep_request=sweep_request,
            limit=sweep_request.max or self._settings.safety.max_per_sweep,
            report=report,
            dry_run=report.dry_run,
            labels={effect.name: effect.label for effect in self._cache.app.catalog.effects},
            total=total,
        )

    def sweep(self, request: Request, body: bytes) -> Response:
        """Run the sweep that was previewed, with only the keys of its preview."""
        report = self._actions.sweep(SweepRequest(plan=fields(body).get("plan", "")), peer(request))
        return self._back(swept=sum(found.enqueued for found in report.rules.values()))

    def dead(self, request: Request, body: bytes) -> Response:
        """Retry or drop the dead letters with the fingerprint in the form."""
        form = fields(body)
        fingerprint = form.get("fingerprint") or ""
        match form.get("do"):
            case "retry":
                return self._back(retried=self._actions.retry(fingerprint, peer(request)))
            case "drop":
                return self._back(dropped=self._actions.drop(fingerprint, peer(request)))
            case _:
                raise HTTPException(400)

    def pause(self, request: Request, body: bytes) -> Response:
        """Pause what the form names."""
        form = {name: value for name, value in fields(body).items() if name in _PAUSE}
        try:
            wanted = PauseRequest.model_validate(form | {"for": form.get("for") or None})
        except ValidationError as error:
            raise UsageError(faults(error)) from error
        self._actions.pause(wanted, peer(request))
        return self._back()

    def resume(self, request: Request, body: bytes) -> Response:
        """Let the form's target go on."""
        self._actions.resume(fields(body).get("target", ""), peer(request))
        return self._back()

    def sign_in(self, _request: Request) -> Response:
        """Start a session and set its cookie."""
        answer = self._back()
        session = self._auth.sessions.begin(time.time())
        answer.set_cookie(COOKIE, session, max_age=int(SESSION), httponly=True, samesite="strict")
        return answer

    def sign_out(self, request: Request, _body: bytes) -> Response:
        """End the session, and delete its cookie."""
        self._auth.sessions.end(request.cookies.get(COOKIE, ""))
        answer = self._back()
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def error_response(self, request: Request, status: int, message: str) -> Response:
        """Return the page for an error."""
        answer = self.page("refusal.html", request, status=status, message=message)
        answer.status_code = status
        return answer

    def _read(self) -> tuple[Status | None, Backlog | None]:
        try:
            return self._cache.status.get(), self._cache.backlog.get()
        except (SQLAlchemyError, TimeoutError):
            return None, None

    def page(self, name: str, request: Request, **context: Any) -> Response:
        """Return a page made of a template."""
        session = request.cookies.get(COOKIE, "")
        signed_in = self._auth.sessions.is_valid(session, time.time())
        csrf_token = self._auth.sessions.csrf_token(session) if signed_in else None
        page = self._pages.get_template(name)
        return HTMLResponse(page.render(instance=INSTANCE, csrf_token=csrf_token, **context))

    def _back(self, **results: int) -> Response:
        self._cache.forget()
        query = "&".join(f"{name}={count}" for name, count in results.items())
        return RedirectResponse(f"/?{query}" if query else "/", _SEE_OTHER)


def _shown(value: Any) -> Any:
    """Mask a text, and make its control characters visible; `| e` in a template leaves it as is."""
    return visible(redact.text(value)) if type(value) is str else value


def _names(queues: Queues) -> dict[str, str]:
    by_priority = {queue: str(priority) for priority, queue in queues.by_priority.items()}
    return by_priority | {queues.outbound: "outbound"}


def _sweep_request(body: bytes) -> SweepRequest:
    form = parse_qs(body.decode(errors="replace"))
    options = {name: form[name][-1] for name in ("max", "reason") if name in form}
    if not form.get("rules"):
        message = "choose a rule"
        raise UsageError(message)
    try:
        return SweepRequest.model_validate({"rules": form["rules"], "dry_run": True, **options})
    except ValidationError as error:
        raise UsageError(faults(error)) from error
