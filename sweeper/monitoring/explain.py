"""The history of one key, why each rule finds it due or not, where it is, and what may be done."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from sweeper.catalog import Catalog
from sweeper.ledger import SWEEP, latest_scans, recent_sweeps
from sweeper.monitoring.about import facts, next_steps, place
from sweeper.monitoring.about.facts import Fact, Kind
from sweeper.monitoring.about.headline import RuleCheck, headline, job_of
from sweeper.monitoring.about.next_steps import Holds, NextStep
from sweeper.monitoring.about.place import Place
from sweeper.postgres import clock
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import avoid
from sweeper.queue.dead_letters import dead_letter_table
from sweeper.queue.live_messages import messages_about
from sweeper.queue.pause import read_pauses
from sweeper.queue.pgmq import Queues
from sweeper.rule import Rule

SCANS, KEYS = 20_000, 500_000
"""The latest scans, and the most keys in them, among which a key is looked for."""

LETTERS = 100
"""The most dead letters about one key that are read: the newest."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The history of one key; rules is empty if no rule's table has the key.

    code     -- what people call the key; None where it has no code
    at       -- when the database was read
    headline -- what is the matter, in one sentence
    rules    -- by rule: whether it finds the key due
    facts    -- oldest first
    where    -- where its messages are now
    possible -- what may be done about it
    since    -- older scans are shown where a job that they sent has ended; None if all are shown
    """

    key: str
    code: str | None
    at: str
    headline: str
    rules: Mapping[str, RuleCheck]
    facts: tuple[Fact, ...]
    where: tuple[Place, ...] = ()
    possible: tuple[NextStep, ...] = ()
    since: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether a rule's table has the key, or anything was ever decided about it."""
        return bool(self.rules or self.facts)

    @property
    def steps(self) -> Iterator[tuple[Fact, float | None]]:
        """The facts, each with the seconds since the one before; None for the first."""
        before: Fact | None = None
        for fact in self.facts:
            yield fact, (fact.at - before.at).total_seconds() if before else None
            before = fact

    @property
    def took(self) -> float | None:
        """The seconds from when it was last found, to when its job was first done after that."""
        found = [fact.at for fact in self.facts if fact.kind is Kind.FOUND]
        if not found:
            return None
        done = (one.at for one in self.facts if one.kind is Kind.DONE and one.at >= found[-1])
        first = next(done, None)
        return (first - found[-1]).total_seconds() if first else None

    def as_json(self) -> dict[str, Any]:
        """Return the document that `explain --json` prints."""
        document = asdict(self)
        document["facts"] = [
            asdict(fact) | {"at": iso(fact.at), "after_seconds": after}
            for fact, after in self.steps
        ]
        for check in document["rules"].values():
            check["since"] = iso(check["since"]) if check["since"] else None
        document["where"] = [place.as_json() for place in self.where]
        return document | {"took_seconds": self.took}


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains keys; enabled are the rules that are on, older_than is by rule name."""

    database: Database
    queues: Queues
    catalog: Catalog
    enabled: Collection[str]
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
            waiting, where = self._messages(tx, key)
            happened = [
                *facts.found_by_scans(tx, key, first),
                *facts.endings(tx, key),
                *facts.acts(tx, key),
                *waiting,
                *facts.effects(tx, self.catalog.facts, key),
            ]
            happened.sort(key=lambda fact: fact.at)
            scans = {row.rule: row for row in recent_sweeps(tx, self.catalog.rules, 1)}
            holds = Holds(self.enabled, scans, read_pauses(tx))
            jobs = {rule.job.name for rule in self.catalog.rules.values()}
            last = facts.last_ending(happened, jobs)
            awake = self.catalog.awake(self.enabled).rules
            told = {name: check for name, check in checks.items() if name in awake}
            return Explanation(
                key,
                code,
                iso(now),
                headline(told, where, last, holds, now),
                checks,
                tuple(happened),
                tuple(where),
                tuple(self._possible(tx, key, told, where, holds)),
                since=iso(first) if first and _has_older(tx, first) else None,
            )

    def _check(self, tx: Connection, rule: Rule, key: str, now: datetime) -> RuleCheck | None:
        older_than = self.older_than.get(rule.name, rule.older_than)
        cutoff = now - older_than
        named = rule.due(cutoff).selected_columns
        column, since = named[rule.job.key].element, named["since"].element
        terms = rule.terms(cutoff) if rule.terms else {}
        row = tx.execute(select(column, since, *terms.values()).where(column == key)).one_or_none()
        if row is None:
            return None
        told = (term.replace("{cutoff}", f"{cutoff:%Y-%m-%d %H:%M:%S} UTC") for term in terms)
        held = dict(zip(told, row[2:], strict=True))
        due = bool(held) and all(held.values())
        begun = row[1] + older_than if due and row[1] else None
        return RuleCheck(due, held, rule.job.name, begun)

    def _messages(self, tx: Connection, key: str) -> tuple[list[Fact], list[Place]]:
        """Return what the live messages and the dead letters about *key* tell, and their places."""
        live = messages_about(tx, self.queues, key, list(self.catalog.jobs.values()))
        found = dead_letter_table.letters(self.queues)
        about = dead_letter_table.about(found, key)
        dead = dead_letter_table.newest(tx, found, about, most=LETTERS)
        told = [fact for one in live for fact in facts.waits(one)]
        places = [
            *map(place.of_message, live),
            *(place.of_letter(one, self.queues.dead) for one in dead),
        ]
        return [*told, *map(facts.death, dead)], places

    def _possible(
        self,
        tx: Connection,
        key: str,
        checks: Mapping[str, RuleCheck],
        where: list[Place],
        holds: Holds,
    ) -> Iterator[NextStep]:
        yield from next_steps.of_places(where, holds)
        for name, check in checks.items():
            if check.due and not job_of(check, where):
                yield from next_steps.of_rule(name, holds)
        yield from next_steps.of_job_files(tx, self.catalog, key)


def _has_older(tx: Connection, first: datetime) -> bool:
    """Return whether there are scans before *first*."""
    older = select(SWEEP.c.id).where(SWEEP.c.at < first).limit(1)
    return tx.execute(older).first() is not None
