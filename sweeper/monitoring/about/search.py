"""The search: what a person may mean by a text, among keys, messages, dead letters and sweeps."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    func,
    select,
    union,
)

from sweeper.catalog import Catalog
from sweeper.errors import UsageError
from sweeper.humanize import number
from sweeper.job import Job
from sweeper.ledger import JOB_LOG, SWEEP
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import avoid
from sweeper.queue.dead_letters import dead_letter_table
from sweeper.queue.live_messages import messages_about, parsed
from sweeper.queue.pgmq import Queues
from sweeper.queue.wire import MalformedMessage, MultiKeyMessage

MOST = 20
"""The most hits of each kind of search."""

ENDINGS = 20_000
"""The latest endings among which the number of a message is looked for."""

SCANS, KEYS = 1_000, 5_000
"""The latest scans and endings, and the most keys of each, that the job files' finders look at."""

LONGEST = 500
"""The most characters of a text that is looked for."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,18}")  # fits a BIGINT


class Kind(StrEnum):
    """What was found, and thus where to read on.

    MESSAGE -- a live message about several keys, or none that can be read
    """

    KEY = "key"
    LETTER = "letter"
    SWEEP = "sweep"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found: its kind and id, and why it may be meant.

    code -- what people call a key
    """

    kind: Kind
    id: str
    what: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The hits for a text, the likeliest first, and what was looked at."""

    typed: str
    hits: Sequence[Hit]
    tried: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Return the document that `find --json` prints."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Search:
    """Finds what a text may mean, by indexes or among a bounded number of rows."""

    database: Database
    queues: Queues
    catalog: Catalog

    def find(self, typed: str) -> Found:
        """Return what *typed* may mean; raises UsageError for what is no text, or a long one."""
        exact = typed.strip()
        if not exact or len(exact) > LONGEST:
            message = f"type something to look for, of {LONGEST} characters at most"
            raise UsageError(message)
        tried, hits = list[str](), list[Hit]()
        with self.database.transaction() as tx:
            avoid(tx, "sort", "seqscan")
            for what, found in self._searches(tx, typed, exact):
                tried.append(what)
                hits += found
            codes = self.catalog.codes.of(tx, [hit.id for hit in hits if hit.kind is Kind.KEY])
        first = {(hit.kind, hit.id): hit for hit in reversed(hits)}
        unique = [hit for hit in hits if first[hit.kind, hit.id] is hit]
        return Found(exact, [_named(hit, codes) for hit in unique], tried)

    def _searches(
        self, tx: Connection, as_typed: str, typed: str
    ) -> Iterator[tuple[str, list[Hit]]]:
        """Yield what is looked at, with the hits there; only ids may have spaces around them."""
        keys = self.catalog.codes.meant(tx, as_typed)
        yield "ids and codes", [Hit(Kind.KEY, key, "its id or code") for key in keys]
        if not keys:
            yield "what the ledger and the queues are about", list(self._known(tx, typed))
        if _UUID.fullmatch(typed):
            yield "sweeps", list(_sweeps(tx, typed.lower()))
        if _NUMBER.fullmatch(typed):
            yield "numbers of live messages", list(self._live(tx, int(typed)))
            yield "numbers of dead letters", list(self._dead(tx, int(typed)))
            what = f"numbers of messages among the latest {number(ENDINGS)} that ended"
            yield what, list(_ended(tx, int(typed)))
        for finder in self.catalog.finders:
            query = finder.query(typed, _latest_keys())
            if query is not None:
                rows = tx.execute(query.limit(MOST))
                yield finder.label, [Hit(Kind.KEY, key, what) for key, what in rows]

    def _known(self, tx: Connection, key: str) -> Iterator[Hit]:
        """Yield the key where only the ledger, a dead letter or a live message knows it."""
        found = dead_letter_table.letters(self.queues)
        queries = (
            select(JOB_LOG.c.id).where(JOB_LOG.c.key == key),
            select(found.c.msg_id).where(dead_letter_table.about(found, key)),
        )
        jobs = list(self.catalog.jobs.values())
        if any(tx.execute(query.limit(1)).first() for query in queries) or messages_about(
            tx, self.queues, key, jobs
        ):
            yield Hit(Kind.KEY, key, "what its jobs are about")

    def _live(self, tx: Connection, msg_id: int) -> Iterator[Hit]:
        for message in parsed(tx, self.queues, msg_id, self.catalog.jobs):
            what = f"message {msg_id} in {message.message.queue}"
            match message:
                case Job():
                    yield Hit(Kind.KEY, message.key, f"{what}: {message.type.name}")
                case MultiKeyMessage():
                    told = f"{what}: {message.type.name}, of {len(message.bodies):,} keys"
                    yield Hit(Kind.MESSAGE, f"{message.message.queue} {msg_id}", told)
                case MalformedMessage():
                    told = f"{what}, which will be dead: {message.error}"
                    yield Hit(Kind.MESSAGE, f"{message.message.queue} {msg_id}", told)

    def _dead(self, tx: Connection, msg_id: int) -> Iterator[Hit]:
        found = dead_letter_table.letters(self.queues)
        for letter in dead_letter_table.newest(tx, found, found.c.msg_id == msg_id, most=1):
            what = f"dead letter {msg_id}: {letter.type or 'no type'}, {letter.reason}"
            yield Hit(Kind.LETTER, str(msg_id), what)


def _sweeps(tx: Connection, sweep_id: str) -> Iterator[Hit]:
    rules = select(SWEEP.c.rule).where(SWEEP.c.id == sweep_id).order_by(SWEEP.c.rule)
    if names := list(tx.execute(rules).scalars()):
        yield Hit(Kind.SWEEP, sweep_id, f"a sweep of {', '.join(names)}")


def _ended(tx: Connection, msg_id: int) -> Iterator[Hit]:
    """Yield the keys of jobs that ended with this message's number."""
    latest = select(JOB_LOG).order_by(JOB_LOG.c.id.desc()).limit(ENDINGS).subquery("latest")
    named = select(latest).where(latest.c.msg_id == msg_id, latest.c.key.is_not(None))
    for row in tx.execute(named.limit(MOST)):
        yield Hit(Kind.KEY, row.key, f"message {msg_id} was {row.job_type}, {row.outcome}")


def _latest_keys() -> ColumnElement[Any]:
    """Return the keys that the latest scans and endings name, as an array in SQL."""
    ended = select(JOB_LOG.c.key).order_by(JOB_LOG.c.id.desc()).limit(KEYS).subquery("ended")
    scans = select(SWEEP.c["keys"]).order_by(SWEEP.c.at.desc()).limit(SCANS).subquery("scans")
    found = select(func.unnest(scans.c["keys"]).label("key")).limit(KEYS).subquery("found")
    keys = union(select(ended.c.key).where(ended.c.key.is_not(None)), select(found.c.key))
    return func.array(keys.scalar_subquery())


def _named(hit: Hit, codes: dict[str, str]) -> Hit:
    code = codes.get(hit.id) if hit.kind is Kind.KEY else None
    return Hit(hit.kind, hit.id, hit.what, code)
