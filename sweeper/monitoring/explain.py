"""The history of one key, and why each rule finds it due or not."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, any_, func, literal, select, union

from sweeper.catalog import Catalog
from sweeper.ledger import JOB_LOG, SWEEP, latest_scans
from sweeper.monitoring.acts import acts_about
from sweeper.monitoring.sent import uuid_of
from sweeper.postgres import clock
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import avoid
from sweeper.queue import dead_letter_table
from sweeper.queue.inspect import messages_about
from sweeper.queue.pgmq import Queues
from sweeper.rule import Rule

SCANS, KEYS = 20_000, 500_000
"""The latest scans, and the most keys in them, among which a key is looked for."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened to the key, or that the database holds about it now."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """Whether a rule finds the key due, and the value of each term of its condition."""

    due: bool
    terms: Mapping[str, bool | None]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The history of one key; rules is empty if no rule's table has the key.

    code  -- what people call the key; None where it has no code
    at    -- when the database was read
    rules -- by rule: whether it finds the key due
    facts -- oldest first
    since -- older scans are shown where a job that they sent has ended; None if all are shown
    """

    key: str
    code: str | None
    at: str
    rules: Mapping[str, RuleCheck]
    facts: tuple[Fact, ...]
    since: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the document that `explain --json` prints."""
        document = asdict(self)
        document["facts"] = [{"at": iso(fact.at), "what": fact.what} for fact in self.facts]
        return document


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains keys; older_than is by rule name, as in the settings."""

    database: Database
    queues: Queues
    catalog: Catalog
    older_than: Mapping[str, timedelta]

    def explain(self, typed: str) -> Explanation:
        """Return the history of the key that *typed* is, or is the code of, oldest fact first.

        Raises UsageError where several keys have that code.
        """
        with self.database.transaction() as tx:
            avoid(tx, "sort", "seqscan")
            now = clock.now()
            key = self.catalog.codes.find(tx, typed) or typed.strip()
            code = self.catalog.codes.of(tx, [key]).get(key)
            checks = {
                name: check
                for name, rule in self.catalog.rules.items()
                if (check := self._check(tx, rule, key, now))
            }
            first = tx.execute(latest_scans(SCANS, KEYS)).scalar()
            facts = [*_swept(tx, key, first), *_ended(tx, key), *_acted(tx, key)]
            facts += self._queued(tx, key)
            since = iso(first) if first and _has_older(tx, first) else None
            for query in self.catalog.facts:
                facts += [Fact(*row) for row in tx.execute(query(key))]
        facts.sort(key=lambda fact: fact.at)
        return Explanation(key, code, iso(now), checks, tuple(facts), since)

    def _check(self, tx: Connection, rule: Rule, key: str, now: datetime) -> RuleCheck | None:
        cutoff = now - self.older_than.get(rule.name, rule.older_than)
        column = rule.due(cutoff).selected_columns[rule.job.key].element
        terms = rule.terms(cutoff) if rule.terms else {}
        row = tx.execute(select(column, *terms.values()).where(column == key)).one_or_none()
        if row is None:
            return None
        told = (term.replace("{cutoff}", f"{cutoff:%Y-%m-%d %H:%M:%S} UTC") for term in terms)
        held = dict(zip(told, row[1:], strict=True))
        return RuleCheck(bool(held) and all(held.values()), held)

    def _queued(self, tx: Connection, key: str) -> list[Fact]:
        waiting = [
            Fact(
                one.enqueued_at,
                f"{one.type} waits in {one.queue} as message {one.msg_id}, "
                f"retry {one.retry_count}, visible from {iso(one.visible_at)}"
                + (": so late that scans do not wait for it" if one.hidden else ""),
            )
            for one in messages_about(tx, self.queues, key, list(self.catalog.jobs.values()))
        ]
        letters = dead_letter_table.letters(self.queues)
        dead = [
            Fact(one.died_at, f"{one.type} lies dead as {one.msg_id} ({one.reason}): {one.error}")
            for one in dead_letter_table.read(tx, letters, dead_letter_table.about(letters, key))
        ]
        return waiting + dead


def _swept(tx: Connection, key: str, first: datetime | None) -> list[Fact]:
    """Return the scans that found *key*: those since *first*, and those whose jobs have ended."""
    columns = (SWEEP.c.at, SWEEP.c.rule, SWEEP.c.trigger, SWEEP.c.id, SWEEP.c.host)
    latest = SWEEP.c.at >= literal(first, SWEEP.c.at.type)
    named = select(uuid_of(JOB_LOG.c.sweep_id)).where(JOB_LOG.c.key == key)
    ended = SWEEP.c.id == any_(func.array(named.scalar_subquery()))
    finds = SWEEP.c["keys"].contains([key])
    found = union(*(select(*columns).where(chosen, finds) for chosen in (latest, ended)))
    return [
        Fact(row.at, f"rule {row.rule} found it ({row.trigger}, sweep {row.id}, {row.host})")
        for row in tx.execute(found)
    ]


def _acted(tx: Connection, key: str) -> list[Fact]:
    """Return what people did by hand about *key*."""
    return [
        Fact(act.at, f"{act.done} by {act.actor} ({act.origin})" + _because(act.reason))
        for act in acts_about(tx, key)
    ]


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _has_older(tx: Connection, first: datetime) -> bool:
    """Return whether there are scans before *first*."""
    older = select(SWEEP.c.id).where(SWEEP.c.at < first).limit(1)
    return tx.execute(older).first() is not None


def _ended(tx: Connection, key: str) -> list[Fact]:
    return [
        Fact(
            row.at,
            f"{row.job_type} {row.outcome} at attempt {row.attempt}" + _because(row.reason),
        )
        for row in tx.execute(select(JOB_LOG).where(JOB_LOG.c.key == key))
    ]
