"""The endpoints of the API, one method for each row of the table of its addresses."""

from dataclasses import asdict, replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sweeper import redact
from sweeper.errors import UsageError
from sweeper.job import Priority
from sweeper.ledger import recent_sweeps
from sweeper.queue.dead_letters import dead_letter
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.web.actions import Actions, PauseRequest, SweepRequest
from sweeper.web.answers import done, failed, parsed, queried, shown
from sweeper.web.auth import acting
from sweeper.web.cache import Cache, SingleFlight
from sweeper.web.v1.requests import (
    DeadLetterChoice,
    DeadLettersQuery,
    EnqueueRequest,
    SweepsQuery,
)

_NAMED = 1_000  # ids that an answer lists
_DIGITS = 20  # more than any id has
_BODY = 10_000  # characters of a message's body that are shown


class ApiV1:
    """Answers requests to the addresses under /api/v1; what it reads, pages and commands show."""

    def __init__(self, cache: Cache, actions: Actions) -> None:
        self._cache = cache
        self._app = cache.app
        self._actions = actions
        self._audit = SingleFlight(cache.app.auditor.audit)

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
            raise HTTPException(404, "nothing was ever decided about it, and no rule knows it")
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

    def new_sweep(self, request: Request, body: bytes) -> Response:
        """Scan as the body requests; 409 with the report if the brake held."""
        wanted = parsed(SweepRequest, body if body.strip() else b"{}")
        report = self._actions.sweep(wanted, acting(request))
        self._cache.forget()
        if report.braked:
            return failed(409, "the brake held: see data, and set max", data=report.as_json())
        return done(report.as_json())

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

    def take_dead_letters(self, request: Request, body: bytes) -> Response:
        """Retry or drop the dead letters that the body chooses, the oldest 10,000 of them."""
        wanted = parsed(DeadLetterChoice, body)
        take = self._actions.retry if wanted.do == "retry" else self._actions.drop
        ids = take(wanted.filter, acting(request), wanted.why)
        self._cache.forget()
        return done({"count": len(ids), "ids": ids[:_NAMED]})

    def pauses(self, _request: Request) -> Response:
        """Answer with the pauses that are in force, the oldest first."""
        found = [pause.as_json() for pause in self._app.pauses.read()]
        return done(shown({"items": found, "next": None}))

    def new_pause(self, request: Request, body: bytes) -> Response:
        """Pause what the body names."""
        paused = self._actions.pause(parsed(PauseRequest, body), acting(request))
        self._cache.forget()
        return done(paused.as_json())

    def end_pause(self, request: Request, _body: bytes) -> Response:
        """Let a target go on; 404 for what cannot be paused."""
        target = request.path_params["target"]
        if target not in (*self._app.pauses.targets, self._app.queues.outbound):
            raise HTTPException(404, "there is nothing of that name that can be paused")
        resumed = self._actions.resume(target, acting(request))
        self._cache.forget()
        return done({"resumed": resumed})

    def new_job(self, request: Request, body: bytes) -> Response:
        """Enqueue the job of the body."""
        wanted = parsed(EnqueueRequest, body)
        priority = Priority(wanted.priority) if wanted.priority else None
        msg_id, queue = self._actions.enqueue(
            wanted.type, wanted.payload, acting(request), priority, wanted.delay
        )
        self._cache.forget()
        return done({"msg_id": msg_id, "queue": queue})

    def audit(self, _request: Request) -> Response:
        """Answer with the document of `sweeper audit --json`; all who ask at once share one."""
        return done(shown(asdict(self._audit.get())))


def _letter(letter: dead_letter.DeadLetter) -> dict[str, Any]:
    document = asdict(replace(letter, body=None))
    del document["body"]
    masked: dict[str, Any] = shown(document)
    return masked
