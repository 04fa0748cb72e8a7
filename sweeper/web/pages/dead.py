"""The dead letters: filtered, page by page, and retried or dropped after a look at how many."""

from collections.abc import Mapping
from dataclasses import replace

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sweeper.errors import ChangedError, UsageError
from sweeper.exports import ColumnKind, ListColumn
from sweeper.monitoring.list_page import PAGE, Page
from sweeper.postgres import clock
from sweeper.queue.dead_letters.dead_letter import DeadLetter
from sweeper.queue.dead_letters.dead_letter_filter import (
    LARGEST_ID,
    WITHOUT,
    DeadLetterFilter,
    Seen,
)
from sweeper.queue.dead_letters.dead_letter_table import MOST_GROUPED
from sweeper.retry import DeadReason
from sweeper.web.actions import MOST_AT_ONCE, Actions
from sweeper.web.auth import acting, fields
from sweeper.web.cache import Cache
from sweeper.web.pages.filters import AGES, Field, age, given, key_of, pinned, query
from sweeper.web.pages.lists import AGE_FIELDS
from sweeper.web.pages.renderer import Renderer, back_to

_FILTERS = ("type", "reason", "fingerprint", "key", *AGES, "id")
_COLUMNS = (
    ListColumn("msg_id", "id", ColumnKind.LETTER),
    ListColumn("type", "type"),
    ListColumn("key", "key", ColumnKind.KEY),
    ListColumn("reason", "reason", ColumnKind.TAG),
    ListColumn("attempts", "attempts", ColumnKind.NUMBER),
    ListColumn("died_at", "died", ColumnKind.TIME),
    ListColumn("error", "error"),
)
_CAUSES = 20
_SAMPLE = 8
_DONE = ("retried", "dropped")
_CONFLICT = 409
_LONGEST_REASON = 200


class DeadLetters:
    """Shows dead letters, and answers the forms that retry or drop what a filter selects."""

    def __init__(self, cache: Cache, actions: Actions, renderer: Renderer) -> None:
        self._cache = cache
        self._app = cache.app
        self._actions = actions
        self._page = renderer.page

    def show(self, request: Request) -> Response:
        """Answer /dead with the causes of what the filter selects, and the letters themselves."""
        asked = given(request.query_params, _FILTERS)
        wanted = self._filter(asked)
        before = _number(request.query_params.get("before"))
        queue = self._app.dead_letter_queue
        total, causes = queue.causes(wanted, _CAUSES)
        letters = queue.newest(replace(wanted, before=before), PAGE + 1)
        following = letters[PAGE - 1].msg_id if len(letters) > PAGE else None
        left_out = f"causes of letters behind the newest {MOST_GROUPED:,}"
        page = _page(letters[:PAGE], total, left_out if total > MOST_GROUPED else "")
        results = {name: request.query_params.get(name, "") for name in _DONE}
        return self._page(
            "dead.html",
            request,
            title="Dead letters",
            fields=self._fields(),
            asked=asked,
            page=page,
            causes=causes,
            types=self._app.catalog.jobs,
            following=query(**asked, before=following) if following else None,
            is_first=before is None,
            first=f"/dead{query(**asked)}",
            results={name: count for name, count in results.items() if count.isdecimal()},
        )

    def preview(self, request: Request, body: bytes) -> Response:
        """Answer the form of a bulk act with what it would take, and ask for the reason."""
        form = fields(body)
        return self._ask(request, form, given(form, _FILTERS))

    def act(self, request: Request, body: bytes) -> Response:
        """Retry or drop what was previewed; 409 and another preview if it is not that any more."""
        form = fields(body)
        asked = given(form, _FILTERS)
        wanted = self._filter(asked)
        reason = form.get("why", "").strip()
        if not 0 < len(reason) <= _LONGEST_REASON:
            message = f"say why, in at most {_LONGEST_REASON} characters: `sweeper acts` shows it"
            raise UsageError(message)
        seen = Seen(_number(form.get("count")) or 0, _number(form.get("newest")) or 0)
        try:
            match form.get("do"):
                case "retry":
                    taken = self._actions.retry(wanted, acting(request), reason, seen)
                    done = {"retried": len(taken)}
                case "drop":
                    taken = self._actions.drop(wanted, acting(request), reason, seen)
                    done = {"dropped": len(taken)}
                case _:
                    raise HTTPException(400)
        except ChangedError as error:
            answer = self._ask(request, form, asked, str(error))
            answer.status_code = _CONFLICT
            return answer
        finally:
            self._cache.forget()
        return back_to("/dead", **done)

    def _ask(
        self, request: Request, form: Mapping[str, str], asked: Mapping[str, str], changed: str = ""
    ) -> Response:
        do = form.get("do")
        if do not in {"retry", "drop"}:
            raise HTTPException(400)
        fixed = pinned(asked, clock.now())
        wanted = self._filter(fixed)
        queue = self._app.dead_letter_queue
        seen = queue.seen(wanted)
        _, causes = queue.causes(wanted, _CAUSES)
        shown = _number(form.get("count"))
        if shown is not None and shown != seen.count and not changed:
            changed = f"It was {shown:,} on the page that you come from; now it is {seen.count:,}."
        return self._page(
            "dead_preview.html",
            request,
            do=do,
            fixed=fixed,
            seen=seen,
            most=MOST_AT_ONCE,
            causes=causes,
            page=_page(queue.newest(wanted, _SAMPLE), seen.count),
            changed=changed,
            why=form.get("why", ""),
            first=f"/dead{query(**asked)}",
        )

    def _fields(self) -> list[Field]:
        return [
            Field("type", "type", (*self._app.catalog.jobs, WITHOUT)),
            Field("reason", "reason", [*DeadReason]),
            Field("fingerprint", "fingerprint"),
            Field("key", "key or code"),
            *AGE_FIELDS,
        ]

    def _filter(self, asked: Mapping[str, str]) -> DeadLetterFilter:
        number = _number(asked.get("id"))
        older, newer = (age(asked.get(name)) for name in AGES)
        return DeadLetterFilter(
            ids=() if number is None else (number,),
            type=asked.get("type"),
            reason=asked.get("reason"),
            fingerprint=asked.get("fingerprint"),
            key=key_of(self._app, asked.get("key")),
            older=older,
            newer=newer,
        )


def _page(letters: list[DeadLetter], total: int, left_out: str = "") -> Page:
    rows = [{each.name: getattr(one, each.name) for each in _COLUMNS} for one in letters]
    codes = {one.key: one.code for one in letters if one.key and one.code}
    return Page(_COLUMNS, rows, total, None, "key", codes, left_out)


def _number(text: str | None) -> int | None:
    """Return the number that *text* is; None where there is none, an error where it is another."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()):
        message = f"{text[:20]!r} is no number"
        raise UsageError(message)
    return min(int(text[:20]), LARGEST_ID)
