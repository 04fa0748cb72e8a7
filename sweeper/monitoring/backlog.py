"""The backlog: which rows are overdue and why, the causes of dead letters, and recent sweeps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from sweeper.catalog import Catalog
from sweeper.exports import ListColumn
from sweeper.humanize import at
from sweeper.ledger import recent_sweeps
from sweeper.monitoring.list_page import Page
from sweeper.postgres import clock
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import avoid
from sweeper.queue.dead_letters.dead_letter_table import (
    MOST_GROUPED,
    DeadLetterGroup,
    dead_letter_groups,
    letters,
)
from sweeper.queue.inspect import JobPosition, positions
from sweeper.queue.pgmq import Queues
from sweeper.rule import Rule

_NAMED = 8  # rows that are listed for each rule; the status counts all
_SCANS = 60  # recent scans that are read for each rule; usually those of an hour
_SWEEPS = 14  # lines that list them
_CAUSES = 20

_WHY = ListColumn("why", "what becomes of it")


class Late(NamedTuple):
    """A row that is due: since when it has waited, and what happens to it next."""

    key: str
    since: datetime
    why: str


class Anomaly(NamedTuple):
    """A row that looks due and must not be touched."""

    key: str
    reason: str


class QuietScans(NamedTuple):
    """Consecutive scheduled scans that found nothing."""

    scans: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Backlog:
    """The rows, dead letters and sweeps behind the numbers of the status, at one moment.

    late, anomalies -- by rule: the first few rows
    causes -- dead letters, grouped by cause, the most frequent first
    has_more -- whether there are older dead letters than those that were grouped
    codes  -- what people call the keys above, by key
    sweeps -- the latest first; consecutive scans that found nothing are one entry
    """

    at: datetime
    late: Mapping[str, Sequence[Late]]
    anomalies: Mapping[str, Sequence[Anomaly]]
    causes: Sequence[DeadLetterGroup]
    has_more: bool
    codes: Mapping[str, str]
    sweeps: Sequence[Row[Any] | QuietScans]

    def as_json(self) -> dict[str, Any]:
        """Return the document of what is late and why, without the sweeps."""
        late, anomalies = self.late.items(), self.anomalies.items()
        return {
            "at": iso(self.at),
            "late": {name: [self._coded(one) for one in rows] for name, rows in late},
            "anomalies": {name: [self._coded(one) for one in rows] for name, rows in anomalies},
            "causes": [asdict(cause) for cause in self.causes],
            "has_more": self.has_more,
        }

    def _coded(self, one: Late | Anomaly) -> dict[str, Any]:
        return {**one._asdict(), "code": self.codes.get(one.key)}


@dataclass(frozen=True, slots=True)
class BacklogReader:
    """Reads the backlog; rules are the enabled ones, older_than is by rule name."""

    database: Database
    queues: Queues
    catalog: Catalog
    rules: Mapping[str, Rule]
    older_than: Mapping[str, timedelta]

    def read(self) -> Backlog:
        """Return the backlog, read in one transaction."""
        with self.database.transaction() as tx:
            avoid(tx, "sort")
            now = clock.now()
            scans = recent_sweeps(tx, self.catalog.rules, _SCANS)
            held = {scan.rule: not scan.ok for scan in reversed(scans)}  # the latest of each
            rules = self.catalog.awake(self.rules).rules.items()
            late = {name: self._late(tx, rule, now, held=held.get(name)) for name, rule in rules}
            anomalies = {name: self._anomalies(tx, rule, now) for name, rule in rules}
            found = letters(self.queues)
            _, causes = dead_letter_groups(tx, found, _CAUSES)
            further = select(found.c.msg_id).order_by(found.c.msg_id.desc()).offset(MOST_GROUPED)
            keys = [
                *(row.key for rows in late.values() for row in rows),
                *(row.key for rows in anomalies.values() for row in rows),
                *(key for cause in causes for key in cause.keys),
            ]
            return Backlog(
                at=now,
                late=late,
                anomalies=anomalies,
                causes=causes,
                has_more=tx.execute(further.limit(1)).first() is not None,
                codes=self.catalog.codes.of(tx, keys),
                sweeps=list(_folded(scans))[:_SWEEPS],
            )

    def with_reasons(self, name: str, page: Page) -> Page:
        """Return a page of what a rule finds due, with what becomes of each row as `why`."""
        if not page.rows:
            return page
        rule = self.catalog.rule(name)
        keys = [str(row[rule.job.key]) for row in page.rows]
        with self.database.transaction() as tx:
            avoid(tx, "sort")
            last = recent_sweeps(tx, [name], 1)
            held = not last[0].ok if last else None
            reasons = self._reasons(tx, rule, keys, clock.now(), held=held)
        rows = [{**row, "why": why} for row, why in zip(page.rows, reasons, strict=True)]
        return replace(page, columns=(*page.columns, _WHY), rows=rows)

    def _late(
        self, tx: Connection, rule: Rule, now: datetime, *, held: bool | None
    ) -> Sequence[Late]:
        rows = tx.execute(rule.due(now - self.older_than[rule.name]).limit(_NAMED)).all()
        keys = [str(getattr(row, rule.job.key)) for row in rows]
        reasons = self._reasons(tx, rule, keys, now, held=held)
        return [
            Late(key, row.since, reason)
            for key, row, reason in zip(keys, rows, reasons, strict=True)
        ]

    def _reasons(
        self, tx: Connection, rule: Rule, keys: Sequence[str], now: datetime, *, held: bool | None
    ) -> list[str]:
        """Return what becomes of each of the rows that *rule* finds due."""
        found = positions(tx, self.queues, rule.job, keys)
        scanned = self._scanned_why(rule, held=held)
        return [why(found[key], now, scanned) if key in found else scanned for key in keys]

    def _scanned_why(self, rule: Rule, *, held: bool | None) -> str:
        """Return why a due row of *rule* has no job yet; *held*: the brake does."""
        if rule.name not in self.rules:
            return "the rule is off"
        if held is None:
            return "no scan has been made yet"
        return "stopped: too many are due" if held else "the next scan finds it"

    def _anomalies(self, tx: Connection, rule: Rule, now: datetime) -> Sequence[Anomaly]:
        if rule.anomalies is None:
            return []
        query = rule.anomalies(now - self.older_than[rule.name]).limit(_NAMED)
        return [Anomaly(row.key, row.reason) for row in tx.execute(query)]


def why(position: JobPosition, now: datetime, scanned: str) -> str:
    """Return what happens next to a row; *scanned* is what it is for one without a job."""
    if position.reason:
        return f"dead letter {position.msg_id}: {position.reason}"
    if position.hidden:
        return (
            f"{scanned}; message {position.msg_id} is hidden until {position.visible_at:%Y-%m-%d}"
        )
    if position.visible_at <= now:
        return "waits in the queue"
    if position.read_ct:
        return "is in flight"
    return f"is tried again at {at(position.visible_at, seconds=True)} UTC"


def _folded(scans: Sequence[Row[Any]]) -> Iterator[Row[Any] | QuietScans]:
    """Replace consecutive scheduled scans that found nothing by one QuietScans."""
    for quiet, group in groupby(scans, _is_quiet):
        rows = list(group)
        if quiet:
            yield QuietScans(len(rows), rows[-1].at, rows[0].at)
        else:
            yield from rows


def _is_quiet(scan: Row[Any]) -> bool:
    return scan.trigger == "schedule" and scan.ok and not scan.found
