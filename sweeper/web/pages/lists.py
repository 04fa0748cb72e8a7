"""The lists: messages that wait, sweeps, what is due, anomalies, and the lists of job files."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sweeper.app import App
from sweeper.errors import UsageError
from sweeper.exports import Listing
from sweeper.monitoring.list_page import Page, Wanted
from sweeper.monitoring.lists import ListReader
from sweeper.monitoring.waiting_list import WaitingList
from sweeper.queue.dead_letters.dead_letter_filter import WITHOUT
from sweeper.web.pages.filters import AGES, Field, age, given, key_of, query
from sweeper.web.pages.renderer import Renderer

AGE_FIELDS = (Field("older", "older than"), Field("newer", "younger than"))


class Lists:
    """Shows each list with its filters, page by page."""

    def __init__(self, app: App, renderer: Renderer) -> None:
        self._app = app
        self._page = renderer.page
        self._reader = ListReader(app.database, app.catalog, app.older_than)
        self._waiting = WaitingList(app.database, app.queues, app.catalog)

    def waiting(self, request: Request) -> Response:
        """Answer /waiting with the messages in the live queues."""
        fields = (
            Field("queue", "queue", self._app.queues.live),
            Field("type", "type", (*self._app.catalog.jobs, WITHOUT)),
            Field("key", "key or code"),
            *AGE_FIELDS,
        )
        asked = given(request.query_params, [field.name for field in fields])
        page = self._waiting.read(self._wanted(request, asked, ("queue", "type")))
        return self._show(request, "Waiting messages", fields, asked, page)

    def sweeps(self, request: Request) -> Response:
        """Answer /sweeps with the scans of rules."""
        return self._list(request, self._reader.sweeps())

    def anomalies(self, request: Request) -> Response:
        """Answer /anomalies with what looks due to a rule and must not be touched."""
        rule = self._rule(request)
        return self._list(request, self._reader.anomalies(rule), rule)

    def overdue(self, request: Request) -> Response:
        """Answer /overdue with what a rule finds due."""
        rule = self._rule(request)
        reasons = partial(self._app.backlog_reader.with_reasons, rule)
        return self._list(request, self._reader.overdue(rule), rule, reasons)

    def exported(self, request: Request) -> Response:
        """Answer /lists/NAME with a list of a job file."""
        return self._list(request, self._app.catalog.listing(request.path_params["name"]))

    def _rule(self, request: Request) -> str:
        rules = self._app.catalog.rules
        if not rules:
            message = "there is no rule"
            raise UsageError(message)
        return request.query_params.get("rule") or next(iter(rules))

    def _list(
        self,
        request: Request,
        listing: Listing,
        rule: str | None = None,
        completed: Callable[[Page], Page] = lambda page: page,
    ) -> Response:
        rules = (Field("rule", "rule", tuple(self._app.catalog.rules), needed=True),)
        fields = (
            *(rules if rule else ()),
            *(
                Field(name, name, values, words=listing.words(name))
                for name, values in listing.choices.items()
            ),
            *((Field("key", "key or code"),) if listing.key else ()),
            *(AGE_FIELDS if listing.at else ()),
        )
        asked = given(request.query_params, [field.name for field in fields])
        page = self._reader.read(listing, self._wanted(request, asked, [*listing.choices]))
        page = completed(page)
        shown = asked | ({"rule": rule} if rule else {})
        return self._show(request, listing.label, fields, shown, page)

    def _wanted(self, request: Request, asked: Mapping[str, str], equal: Sequence[str]) -> Wanted:
        older, newer = (age(asked.get(name)) for name in AGES)
        return Wanted(
            {name: asked[name] for name in equal if name in asked},
            key_of(self._app, asked.get("key")),
            older,
            newer,
            request.query_params.get("before") or None,
        )

    def _show(
        self,
        request: Request,
        title: str,
        fields: Sequence[Field],
        asked: Mapping[str, str],
        page: Page,
    ) -> Response:
        return self._page(
            "list.html",
            request,
            title=title,
            fields=fields,
            asked=asked,
            page=page,
            following=query(**asked, before=page.next) if page.next else None,
            is_first="before" not in request.query_params,
            first=f"{request.url.path}{query(**asked)}",
        )
