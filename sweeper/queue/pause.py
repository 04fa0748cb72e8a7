"""Pauses: rules that are not scanned, and queues that are not read, until an operator resumes them.

They are rows of one table, which every scan, read and look asks in its own statement: a pause holds
for every process on every machine from its commit on.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    Text,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP, insert

from sweeper.errors import UsageError
from sweeper.humanize import at
from sweeper.ledger import METADATA
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.queue.acts import Act
from sweeper.queue.pgmq import Queues
from sweeper.queue.read import EVERYTHING, IN_FORCE

OUTBOUND = "outbound"
"""What people call the outbound queue, whatever its name."""

LONGEST = timedelta(days=365)
"""The longest pause with an end."""

PAUSE = Table(
    "pause",
    METADATA,
    Column("target", Text, primary_key=True),
    Column("since", TIMESTAMP(timezone=True), nullable=False),
    Column("ends_at", TIMESTAMP(timezone=True)),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
_IN_FORCE = literal_column(IN_FORCE, Boolean)


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that is in force.

    target  -- a rule, a queue, or EVERYTHING
    ends_at -- when it ends by itself; None if only `resume` ends it
    actor   -- who paused, and `reason` why
    """

    target: str
    since: datetime
    ends_at: datetime | None
    actor: str
    reason: str

    def __str__(self) -> str:
        return f"{self.target} is paused {self.end}, by {self.actor}: {self.reason}"

    @property
    def end(self) -> str:
        """When it ends, for people."""
        return f"until {at(self.ends_at)} UTC" if self.ends_at else "until it is resumed"

    def seconds(self, at: str) -> float:
        """Return how long the pause has lasted at a time in ISO format."""
        return max(0.0, (datetime.fromisoformat(at) - self.since).total_seconds())

    def ends_in(self, at: str) -> float | None:
        """Return the seconds from *at* to the end; below zero once it has passed."""
        end = self.ends_at
        return (end - datetime.fromisoformat(at)).total_seconds() if end else None

    def as_json(self) -> dict[str, str | None]:
        """Return the pause as the JSON documents show it."""
        times = {"since": iso(self.since), "ends_at": iso(self.ends_at) if self.ends_at else None}
        return asdict(self) | times


def select_pauses() -> Select[tuple[str, datetime, datetime | None, str, str]]:
    """Select the pauses that are in force, the oldest first, as the fields of Pause."""
    c = PAUSE.c
    return (
        select(c.target, c.since, c.ends_at, c.actor, c.reason)
        .where(_IN_FORCE)
        .order_by(c.since, c.target)
    )


def read_pauses(tx: Connection) -> list[Pause]:
    """Return the pauses that are in force, the oldest first."""
    return [pause_of(row) for row in tx.execute(select_pauses())]


def pause_of(row: Sequence[Any]) -> Pause:
    """Return the pause that `select_pauses` has selected as *row*."""
    return Pause(*row)


def is_paused(target: str) -> ColumnElement[bool]:
    """Return the condition that a pause of *target*, or of everything, is in force."""
    return (
        select(PAUSE.c.target).where(PAUSE.c.target.in_((target, EVERYTHING)), _IN_FORCE).exists()
    )


@dataclass(frozen=True, slots=True)
class Pauses:
    """Pauses and resumes on an operator's request; rules are the names of all known rules."""

    database: Database
    queues: Queues
    rules: Sequence[str]

    @property
    def targets(self) -> tuple[str, ...]:
        """What can be paused, as people name it."""
        return (EVERYTHING, *self.rules, *self.queues.database, OUTBOUND)

    def read(self) -> list[Pause]:
        """Return the pauses that are in force, the oldest first."""
        with self.database.transaction() as tx:
            return read_pauses(tx)

    def pause(
        self,
        target: str,
        length: timedelta | None,
        actor: str,
        reason: str,
        act: Act | None = None,
    ) -> Pause:
        """Pause *target* from now on; a pause of it that is in force gets the new end and reason.

        length -- after which the pause ends by itself; None for a pause that only `resume` ends
        act    -- is written down with it

        Raises UsageError for a target that does not exist, and for more than LONGEST.
        """
        c, name = PAUSE.c, self._stored(target)
        if length and length > LONGEST:
            message = f"a pause with an end lasts up to {LONGEST.days}d; leave the end out"
            raise UsageError(message)
        ends_at = None if length is None else func.now() + length
        new = {"ends_at": ends_at, "actor": actor, "reason": reason}
        with self.database.transaction() as tx:
            tx.execute(PAUSE.delete().where(~_IN_FORCE))
            row = tx.execute(
                insert(PAUSE)
                .values(target=name, since=func.now(), **new)
                .on_conflict_do_update(index_elements=[c.target], set_=new)
                .returning(c.target, c.since, c.ends_at, c.actor, c.reason)
            ).one()
            paused = pause_of(row)
            if act:
                act.done(tx, paused.end)
        return paused

    def resume(self, target: str, act: Act | None = None) -> list[str]:
        """End the pause of *target*, or every pause for EVERYTHING; return what was paused.

        Raises UsageError for a target that does not exist.
        """
        name = self._stored(target)
        ended = true() if name == EVERYTHING else PAUSE.c.target == name
        with self.database.transaction() as tx:
            rows = tx.execute(PAUSE.delete().where(_IN_FORCE, ended).returning(PAUSE.c.target))
            resumed = sorted(rows.scalars())
            if act:
                act.done(tx, f"resumed {', '.join(resumed) or 'nothing'}")
        return resumed

    def _stored(self, target: str) -> str:
        """Return the name under which a pause of *target* is stored."""
        if target in {OUTBOUND, self.queues.outbound}:
            return self.queues.outbound
        if target not in self.targets:
            message = f"{target!r} cannot be paused; there are {', '.join(self.targets)}"
            raise UsageError(message)
        return target
