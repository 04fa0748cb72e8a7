"""The dashboard: an HTML page with the status and the backlog, and the forms for actions."""

from collections.abc import Sequence
from urllib.parse import parse_qs

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from sweeper.durations import format_duration
from sweeper.errors import UsageError
from sweeper.monitoring.acts import PastAct
from sweeper.monitoring.backlog import Backlog
from sweeper.monitoring.status import Status
from sweeper.postgres import clock
from sweeper.queue.pgmq import Queues
from sweeper.queue.wire import faults
from sweeper.web.actions import Actions, PauseRequest, SweepRequest
from sweeper.web.auth import acting, fields
from sweeper.web.cache import Cache
from sweeper.web.pages.renderer import Renderer, back_to
from sweeper.web.pages.summary import numbers, summarize

_PAUSE = ("target", "for", "reason")
_RESULTS = ("swept",)


class Dashboard:
    """Shows the dashboard, and answers its forms."""

    def __init__(self, cache: Cache, actions: Actions, renderer: Renderer) -> None:
        self._cache = cache
        self._actions = actions
        self._page = renderer.page

    def show(self, request: Request) -> Response:
        """Answer / with the dashboard, without status and backlog if the database is down."""
        app, stats = self._cache.app, self._cache.stats
        blocked = [name for name, is_blocked in stats.blocked().items() if is_blocked]
        status, backlog = self._read()
        reasons, max_skew = self._cache.health.ready(), app.settings.safety.max_clock_skew
        results = {name: request.query_params.get(name, "") for name in _RESULTS}
        return self._page(
            "dashboard.html",
            request,
            now=clock.now(),
            summary=summarize(status, reasons, app.rules, blocked, max_skew),
            numbers=numbers(status, app.catalog.figures) if status else [],
            status=status,
            backlog=backlog,
            acts=self._acts(),
            stats=stats,
            names=_names(app.queues),
            types=app.catalog.jobs,
            listings=app.catalog.listings,
            rules={
                name: {
                    "older_than": format_duration(rule.older_than),
                    "every": format_duration(rule.every),
                }
                for name, rule in self._cache.app.settings.rules.items()
                if rule.enabled
            },
            limit=self._cache.app.settings.safety.max_per_sweep,
            targets=app.pauses.targets,
            results={name: count for name, count in results.items() if count.isdecimal()},
        )

    def preview(self, request: Request, body: bytes) -> Response:
        """Answer the form for a sweep with a preview, which is the result of a dry run."""
        sweep_request = _sweep_request(body)
        report = self._actions.sweep(sweep_request, acting(request))
        total = sum(found.enqueued for found in report.rules.values())
        return self._page(
            "preview.html",
            request,
            sweep_request=sweep_request,
            limit=sweep_request.max or self._cache.app.settings.safety.max_per_sweep,
            report=report,
            dry_run=report.dry_run,
            labels={effect.name: effect.label for effect in self._cache.app.catalog.effects},
            total=total,
        )

    def sweep(self, request: Request, body: bytes) -> Response:
        """Run the sweep that was previewed, with only the keys of its preview."""
        sweep_request = SweepRequest(plan=fields(body).get("plan", ""))
        report = self._actions.sweep(sweep_request, acting(request))
        return back_to("/", swept=sum(found.enqueued for found in report.rules.values()))

    def pause(self, request: Request, body: bytes) -> Response:
        """Pause what the form names."""
        form = {name: value for name, value in fields(body).items() if name in _PAUSE}
        try:
            wanted = PauseRequest.model_validate(form | {"for": form.get("for") or None})
        except ValidationError as error:
            raise UsageError(faults(error)) from error
        self._actions.pause(wanted, acting(request))
        return back_to("/")

    def resume(self, request: Request, body: bytes) -> Response:
        """Let the form's target go on."""
        self._actions.resume(fields(body).get("target", ""), acting(request))
        return back_to("/")

    def _read(self) -> tuple[Status | None, Backlog | None]:
        try:
            return self._cache.status.get(), self._cache.backlog.get()
        except (SQLAlchemyError, TimeoutError):
            return None, None

    def _acts(self) -> Sequence[PastAct]:
        """Return the last acts; none where they cannot be read, which must not hide the rest."""
        try:
            return self._cache.acts.get().acts
        except (SQLAlchemyError, TimeoutError):
            return ()


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
