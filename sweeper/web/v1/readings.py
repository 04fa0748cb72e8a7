"""The readings of the API, one method for each row of the table of its addresses that reads."""

from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sweeper import redact
from sweeper.errors import UsageError
from sweeper.exports import Listing
from sweeper.ledger import recent_sweeps
from sweeper.monitoring.about.search import Search
from sweeper.monitoring.about.sweep import SweepReader
from sweeper.monitoring.lists import ListReader
from sweeper.monitoring.waiting_list import WaitingList
from sweeper.queue.dead_letters import dead_letter
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.web.answers import done, queried, shown
from sweeper.web.cache import Cache, SingleFlight
from sweeper.web.pages.filters import key_of
from sweeper.web.v1.requests import (
    ActsQuery,
    AnomaliesQuery,
    DeadLettersQuery,
    FindQuery,
    HistoryQuery,
    OverdueQuery,
    RowsQuery,
    SweepsQuery,
    WaitingQuery,
)

_DIGITS = 20  # more than any id has
_BODY = 10_000  # characters of a message's body that are shown
_NO_SWEEP = "there is no such sweep: dry runs, and what was pruned, are not in the ledger"


class Readings:
    """Answers requests to read under /api/v1, of what pages and commands show."""

    def __init__(self, cache: Cache) -> None:
        app = cache.app
        self._cache = cache
        self._app = app
        self._audit = SingleFlight(app.auditor.audit)
        self._search = Search(app.database, app.queues, app.catalog)
        self._sweeps = SweepReader(app.database, app.queues, app.catalog)
        self._lists = ListReader(app.database, app.catalog, app.older_than)
        self._waiting = WaitingList(app.database, app.queues, app.catalog)

    def status(self, _request: Request) -> Response:
        """Answer with the document of `sweeper status --json`."""
        return done(shown(self._cache.status.get().as_json()))

    def backlog(self, _request: Request) -> Response:
        """Answer with the rows and letters behind the status."""
        return done(shown(self._cache.backlog.get().as_json()))

    def queues(self, _request: Request) -> Response:
        """Answer with the depth of each queue."""
        status = self._cache.status.get()
        depths = {name: asdict(depth) for name, depth in status.queues.items()}
        return done(shown({"at": status.at, "queues": depths, "dead": status.dead.count}))

    def explain(self, request: Request) -> Response:
        """Answer with the document of `sweeper explain --json`; 404 for what nobody knows."""
        found = self._app.explainer.explain(request.path_params["key"])
        if not found.rules and not found.facts:
            raise HTTPException(404, "no such order exists, and nothing was ever decided about one")
        return done(shown(found.as_json()))

    def sweeps(self, request: Request) -> Response:
        """Answer with the latest scans, of all rules or of one."""
        wanted = queried(SweepsQuery, request)
        rules = (
            [self._app.catalog.rule(wanted.rule).name] if wanted.rule else self._app.catalog.rules
        )
        with self._app.database.transaction() as tx:
            rows = recent_sweeps(tx, rules, wanted.limit + 1, wanted.before)
        # What has the time of the last one would be left out by the next part: it is here too.
        last = rows[wanted.limit - 1].at if len(rows) > wanted.limit else None
        some = [row for row in rows if last is None or row.at >= last]
        items = [dict(row._mapping) for row in some]  # noqa: SLF001 -- public but for its name
        return done(shown({"items": items, "next": last}))

    def dead_letters(self, request: Request) -> Response:
        """Answer with the newest dead letters, without their bodies."""
        wanted = queried(DeadLettersQuery, request)
        found = [_letter(one) for one in self._app.dead_letter_queue.stream(wanted.filter)]
        found.reverse()
        last = found[-1]["msg_id"] if len(found) == wanted.limit else None
        return done({"items": found, "next": last})

    def dead_letter(self, request: Request) -> Response:
        """Answer with one dead letter and its body, masked."""
        given = request.path_params["id"]
        number = int(given) if given.isdecimal() and len(given) < _DIGITS else 0
        try:
            (found,) = self._app.dead_letter_queue.find(DeadLetterFilter(ids=[number]))
        except (UsageError, ValueError) as error:
            raise HTTPException(404, "there is no such dead letter") from error
        body = None if found.body is None else redact.short(found.body, _BODY)
        return done({**_letter(found), "body": body})

    def pauses(self, _request: Request) -> Response:
        """Answer with the pauses that are in force, the oldest first."""
        found = [pause.as_json() for pause in self._app.pauses.read()]
        return done(shown({"items": found, "next": None}))

    def audit(self, _request: Request) -> Response:
        """Answer with the document of `sweeper audit --json`; all who ask at once share one."""
        return done(shown(asdict(self._audit.get())))

    def acts(self, request: Request) -> Response:
        """Answer with the document of `sweeper acts --json`."""
        return done(shown(self._app.act_reader.read(queried(ActsQuery, request).filter).as_json()))

    def history(self, request: Request) -> Response:
        """Answer with the document of `sweeper history --json`; pages share the reading."""
        period = queried(HistoryQuery, request).period
        return done(shown(self._cache.history[period].get().as_json()))

    def find(self, request: Request) -> Response:
        """Answer with the document of `sweeper find --json`, without the scans of a sweep."""
        return done(shown(self._search.find(queried(FindQuery, request).q).as_json()))

    def sweep_by_id(self, request: Request) -> Response:
        """Answer with the scans of one sweep; 404 for what is no sweep's id."""
        try:
            sweep_id = str(UUID(request.path_params["sweep_id"]))
        except ValueError as error:
            raise HTTPException(404, _NO_SWEEP) from error
        scans = [scan.as_json() for scan in self._sweeps.read(sweep_id)]
        if not scans:
            raise HTTPException(404, _NO_SWEEP)
        return done(shown({"sweep_id": sweep_id, "scans": scans}))

    def waiting(self, request: Request) -> Response:
        """Answer with the document of `sweeper waiting --json`."""
        asked = queried(WaitingQuery, request)
        page = self._waiting.read(asked.wanted(key_of(self._app, asked.key)))
        return done(shown(page.as_json()))

    def overdue(self, request: Request) -> Response:
        """Answer with the document of `sweeper overdue --json`; 404 for an unknown rule."""
        rule, asked = self._rule(request), queried(OverdueQuery, request)
        wanted = asked.wanted(key_of(self._app, asked.key))
        page = self._lists.read(self._lists.overdue(rule), wanted)
        return done(shown(self._app.backlog_reader.with_reasons(rule, page).as_json()))

    def anomalies(self, request: Request) -> Response:
        """Answer with the document of `sweeper anomalies --json`; 404 for an unknown rule."""
        rule = self._rule(request)
        return self._list(self._lists.anomalies(rule), queried(AnomaliesQuery, request))

    def rows(self, request: Request) -> Response:
        """Answer with the document of `sweeper list --json`; 404 for an unknown list."""
        listing = self._app.catalog.listings.get(request.path_params["name"])
        if listing is None:
            raise HTTPException(404, "there is no such list")
        asked = queried(RowsQuery, request)
        if asked.state and "state" not in listing.choices:
            message = "the rows of this list have no state"
            raise UsageError(message)
        return self._list(listing, asked)

    def _rule(self, request: Request) -> str:
        name: str = request.path_params["rule"]
        if name not in self._app.catalog.rules:
            raise HTTPException(404, "there is no such rule")
        return name

    def _list(self, listing: Listing, asked: AnomaliesQuery) -> Response:
        page = self._lists.read(listing, asked.wanted(key_of(self._app, asked.key)))
        return done(shown(page.as_json()))


def _letter(letter: dead_letter.DeadLetter) -> dict[str, Any]:
    document = asdict(replace(letter, body=None))
    del document["body"]
    masked: dict[str, Any] = shown(document)
    return masked
