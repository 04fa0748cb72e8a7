"""All that was ever decided about one key, and why each rule does, or does not, find it due."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from sweeper.catalog import Catalog
from sweeper.ledger import JOB_LOG, SWEEP
from sweeper.postgres import clock
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.queue import dead_letter
from sweeper.queue.inspect import messages_about
from sweeper.queue.pgmq import Queues
from sweeper.rule import Rule


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened to the key, or stands in the database about it."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """How a rule sees the key: every term of its condition, and whether all of them hold."""

    due: bool
    terms: Mapping[str, bool | None]


@dataclass(frozen=True, slots=True)
class Story:
    """The whole story of one key; rules are empty where no rule knows it."""

    key: str
    at: str
    rules: Mapping[str, RuleCheck]
    facts: tuple[Fact, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the document that `explain --json` prints."""
        told = asdict(self)
        told["facts"] = [{"at": iso(fact.at), "what": fact.what} for fact in self.facts]
        return told


@dataclass(frozen=True, slots=True)
class Explainer:
    """Reads the story; older_than is by rule name, as the settings have it."""

    database: Database
    queues: Queues
    catalog: Catalog
    older_than: Mapping[str, timedelta]

    def explain(self, key: str) -> Story:
        """Return the story of *key*, read in one transaction, its facts in the order of time."""
        with self.database.transaction() as tx:
            now = clock.now()
            verdicts = {
                name: verdict
                for name, rule in self.catalog.rules.items()
                if (verdict := self._judge(tx, rule, key, now))
            }
            facts = [*_swept(tx, key), *_ended(tx, key), *self._queued(tx, key)]
            for tell in self.catalog.facts:
                facts += [Fact(*row) for row in tx.execute(tell(key))]
        facts.sort(key=lambda fact: fact.at)
        return Story(key, iso(now), verdicts, tuple(facts))

    def _judge(self, tx: Connection, rule: Rule, key: str, now: datetime) -> RuleCheck | None:
        cutoff = now - self.older_than.get(rule.name, rule.older_than)
        column = rule.due(cutoff).selected_columns[rule.job.key].element
        terms = rule.terms(cutoff) if rule.terms else {}
        row = tx.execute(select(column, *terms.values()).where(column == key)).one_or_none()
        if row is None:
            return None
        held = dict(zip(terms, row[1:], strict=True))
        return RuleCheck(bool(held) and all(held.values()), held)

    def _queued(self, tx: Connection, key: str) -> list[Fact]:
        waiting = [
            Fact(
                one.enqueued_at,
                f"{one.type} waits in {one.queue} as message {one.msg_id}, "
                f"retry {one.retry_count}, visible from {iso(one.visible_at)}",
            )
            for one in messages_about(tx, self.queues, key, list(self.catalog.jobs.values()))
        ]
        dead = [
            Fact(one.died_at, f"{one.type} lies dead as {one.msg_id} ({one.reason}): {one.error}")
            for one in dead_letter.read(tx, self.queues)
            if one.key == key
        ]
        return waiting + dead


def _swept(tx: Connection, key: str) -> list[Fact]:
    sweeps = select(SWEEP).where(SWEEP.c["keys"].contains([key]))
    return [
        Fact(row.at, f"rule {row.rule} found it ({row.trigger}, sweep {row.id}, {row.host})")
        for row in tx.execute(sweeps)
    ]


def _ended(tx: Connection, key: str) -> list[Fact]:
    return [
        Fact(
            row.at,
            f"{row.job_type} {row.outcome} at attempt {row.attempt}"
            + (f": {row.reason}" if row.reason else ""),
        )
        for row in tx.execute(select(JOB_LOG).where(JOB_LOG.c.key == key))
    ]
