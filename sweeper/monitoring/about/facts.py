"""Facts: what happened to one key, told by the ledger, the queues and the job files."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, any_, func, literal, select, union

from sweeper.humanize import at
from sweeper.ledger import JOB_LOG, SWEEP, Outcome
from sweeper.monitoring.acts import acts_about
from sweeper.monitoring.sent import uuid_of
from sweeper.queue.dead_letters.dead_letter import DeadLetter
from sweeper.queue.live_messages import WaitingMessage


class Kind(StrEnum):
    """What kind of thing happened to a key.

    FAILED -- a job of it raised; the ledger has no row of that, its message says how often
    ACT    -- somebody did something by hand
    EFFECT -- what a job file tells of it
    """

    FOUND = "found"
    QUEUED = "queued"
    FAILED = "failed"
    POSTPONED = "postponed"
    DEAD = "dead"
    REVIVED = "revived"
    DROPPED = "dropped"
    DONE = "done"
    SKIPPED = "skipped"
    ACT = "act"
    EFFECT = "effect"


MOST = 500
"""The most endings of one key that are read: the last."""

_ENDED = (Kind.DONE, Kind.SKIPPED, Kind.DEAD, Kind.DROPPED)

_KINDS = {
    Outcome.DONE: Kind.DONE,
    Outcome.SKIPPED: Kind.SKIPPED,
    Outcome.RETRIED: Kind.FAILED,
    Outcome.POSTPONED: Kind.POSTPONED,
    Outcome.DEAD: Kind.DEAD,
    Outcome.REVIVED: Kind.REVIVED,
    Outcome.DROPPED: Kind.DROPPED,
}


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened to the key, or that the database holds about it now.

    type     -- of the job, where it happened to one
    sweep_id -- of the sweep that found it
    """

    at: datetime
    what: str
    kind: Kind = Kind.EFFECT
    type: str | None = None
    sweep_id: str | None = None


def found_by_scans(tx: Connection, key: str, first: datetime | None) -> list[Fact]:
    """Return the scans that found *key*: those since *first*, and those whose jobs have ended."""
    columns = (SWEEP.c.at, SWEEP.c.rule, SWEEP.c.trigger, SWEEP.c.id, SWEEP.c.host)
    latest = SWEEP.c.at >= literal(first, SWEEP.c.at.type)
    named = select(uuid_of(JOB_LOG.c.sweep_id)).where(JOB_LOG.c.key == key)
    ended = SWEEP.c.id == any_(func.array(named.scalar_subquery()))
    finds = SWEEP.c["keys"].contains([key])
    found = union(*(select(*columns).where(chosen, finds) for chosen in (latest, ended)))
    return [
        Fact(
            row.at,
            f"rule {row.rule} found it ({row.trigger}, sweep {row.id}, {row.host})",
            Kind.FOUND,
            sweep_id=row.id,
        )
        for row in tx.execute(found)
    ]


def endings(tx: Connection, key: str) -> list[Fact]:
    """Return how the last MOST jobs of *key* ended, as the ledger has it."""
    # Materialized: the server might walk through all ids to find the last ones of a key.
    named = select(JOB_LOG).where(JOB_LOG.c.key == key).cte("named").prefix_with("materialized")
    rows = tx.execute(select(named).order_by(named.c.id.desc()).limit(MOST))
    return [
        Fact(
            row.at,
            f"{row.job_type} {row.outcome} at attempt {row.attempt}"
            + (f": {row.reason}" if row.reason else ""),
            _KINDS[row.outcome],
            row.job_type,
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]


def acts(tx: Connection, key: str) -> list[Fact]:
    """Return what people did by hand about *key*."""
    return [
        Fact(
            act.at,
            f"{act.done} by {act.actor} ({act.origin})" + (f": {act.reason}" if act.reason else ""),
            Kind.ACT,
        )
        for act in acts_about(tx, key)
    ]


def waits(one: WaitingMessage) -> Iterator[Fact]:
    """Yield what a live message tells: how often it failed or was postponed, and where it waits."""
    failed = one.retry_count not in {None, "0"}
    if failed:
        error = f", the last time with: {one.last_error}" if one.last_error else ""
        what = f"{one.type} has failed, {one.retry_count} times so far{error}"
        yield Fact(one.enqueued_at, what, Kind.FAILED, one.type)
    undecided = one.read_ct - (0 if one.ready else 1)
    if undecided > 0:
        why = "its worker was killed, or lost its lease"
        what = f"{one.type}: {undecided} reads ended without a verdict so far; {why}"
        yield Fact(one.enqueued_at, what, Kind.FAILED, one.type)
    if one.postponed:
        what = f"{one.type} was postponed, {one.postponed} times in a row so far"
        yield Fact(one.enqueued_at, what, Kind.POSTPONED, one.type)
    yield Fact(
        one.enqueued_at,
        f"{one.type} waits in {one.queue} as message {one.msg_id}, "
        f"retry {one.retry_count}, visible from {at(one.visible_at, seconds=True)} UTC"
        + (": so late that scans do not wait for it" if one.hidden else ""),
        Kind.QUEUED,
        one.type,
    )


def death(letter: DeadLetter) -> Fact:
    """Return what a dead letter tells."""
    what = f"{letter.type} is dead letter {letter.msg_id} ({letter.reason}): {letter.error}"
    return Fact(letter.died_at, what, Kind.DEAD, letter.type)


def last_ending(facts: Sequence[Fact], jobs: Container[str]) -> Fact | None:
    """Return how one of *jobs* ended last; of any other job, where none of these has."""
    ended = [fact for fact in reversed(facts) if fact.kind in _ENDED]
    return next((fact for fact in ended if fact.type in jobs), next(iter(ended), None))


def effects(
    tx: Connection, queries: Iterable[Callable[[str], Select[Any]]], key: str
) -> list[Fact]:
    """Return what the job files tell of *key*."""
    return [Fact(row[0], row[1]) for query in queries for row in tx.execute(query(key))]
