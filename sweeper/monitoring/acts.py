"""What people did by hand: a page of the acts, the latest first, and the acts about one key."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.queue.acts import ACT, Action, ActOutcome, kept_key

PAGE = 50
"""Acts that a person is shown at once, unless more are asked for."""

MOST_ABOUT = 100
"""The latest acts about one key that are shown."""

_LARGEST_ID = 2**63 - 1
_DONE: Mapping[str, str] = {
    Action.RETRY: "dead letter retried",
    Action.DROP: "dead letter dropped",
    Action.PURGE: "dead letter dropped for its age",
    Action.ENQUEUE: "job enqueued by hand",
    Action.SETTLE: "settled",
}
_begin = ACT.alias("begin")
_end = ACT.alias("end")


@dataclass(frozen=True, slots=True)
class ActFilter:
    """Selects acts; without any criterion, all of them.

    since  -- only those that ended, or were begun and have not, within this time until now
    before -- only those with smaller ids
    """

    action: Action | None = None
    actor: str | None = None
    since: timedelta | None = None
    before: int | None = None
    limit: int = PAGE


@dataclass(frozen=True, slots=True)
class PastAct:
    """An act as it is written down.

    id      -- of the row with its end, or with its begin where it has none
    at      -- when it began
    actor   -- who acted; origin: from where; host: by which process
    outcome -- done, failed, refused; or begun: it goes on, or its process was killed
    detail  -- what it did, or why it did not
    """

    id: int
    at: datetime
    action: str
    subject: str
    actor: str
    origin: str
    host: str
    reason: str | None
    outcome: str
    detail: str | None
    duration_ms: int | None

    @property
    def done(self) -> str:
        """What it did to a key that it was about, for people."""
        return _DONE.get(self.action, self.action)

    @property
    def tone(self) -> str:
        """How a page marks its outcome; nothing for one that is done."""
        return "" if self.outcome == ActOutcome.DONE else "bad"

    def as_json(self) -> dict[str, Any]:
        """Return the act as the JSON documents show it."""
        return asdict(self) | {"at": iso(self.at)}


@dataclass(frozen=True, slots=True)
class ActPage:
    """One page of the acts; older is the id to go on before, None where there are no more."""

    acts: Sequence[PastAct]
    older: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the document that `acts --json` prints."""
        return {"acts": [act.as_json() for act in self.acts], "older": self.older}


@dataclass(frozen=True, slots=True)
class ActReader:
    """Reads the acts."""

    database: Database

    def read(self, wanted: ActFilter) -> ActPage:
        """Return the acts that *wanted* selects, the latest first."""
        query = _acts().where(*_conditions(wanted)).order_by(ACT.c.id.desc())
        with self.database.transaction() as tx:
            rows = tx.execute(query.limit(wanted.limit + 1)).all()
        acts = [PastAct(*row) for row in rows[: wanted.limit]]
        return ActPage(acts, acts[-1].id if len(rows) > wanted.limit else None)


def acts_about(tx: Connection, key: str) -> list[PastAct]:
    """Return the latest acts about the jobs of *key*, the oldest of them first.

    A part of an act stands for it here, so that one shows that was killed later.
    """
    about = ACT.c["keys"].contains([kept_key(key)])
    latest = select(*_columns(ACT.c.at)).where(about).order_by(ACT.c.id.desc()).limit(MOST_ABOUT)
    return [PastAct(*row) for row in reversed(tx.execute(latest).all())]


def _columns(at: ColumnElement[datetime]) -> list[ColumnElement[Any]]:
    c = ACT.c
    told = (c.action, c.subject, c.actor, c.origin, c.host, c.reason, c.outcome, c.detail)
    return [c.id, at, *told, c.duration_ms]


def _acts() -> Select[Any]:
    """Select each act once: by its end, or by its begin where it has no end."""
    began = func.coalesce(_begin.c.at, ACT.c.at)
    begins = _begin.c.id == ACT.c.begun
    return select(*_columns(began)).select_from(ACT.outerjoin(_begin, begins)).where(_is_whole())


def _is_whole() -> ColumnElement[bool]:
    ended = select(_end.c.id).where(_end.c.begun == ACT.c.id, _end.c.outcome != ActOutcome.PART)
    goes_on = (ACT.c.outcome == ActOutcome.BEGUN) & ~ended.exists()
    return ACT.c.outcome.not_in((ActOutcome.PART, ActOutcome.BEGUN)) | goes_on


def _conditions(wanted: ActFilter) -> list[ColumnElement[bool]]:
    c = ACT.c
    action = [c.action == wanted.action] if wanted.action is not None else []
    actor = [c.actor == wanted.actor] if wanted.actor is not None else []
    since = [c.at >= func.now() - wanted.since] if wanted.since is not None else []
    before = [c.id < min(wanted.before, _LARGEST_ID)] if wanted.before is not None else []
    return [*action, *actor, *since, *before]
