"""The lists: scans of rules, what rules leave alone, what they find due, and lists of job files."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, case, false, literal, select
from sqlalchemy.exc import DataError

from sweeper.catalog import Catalog
from sweeper.errors import UsageError
from sweeper.exports import ColumnKind, ListColumn, Listing
from sweeper.ledger import SWEEP, Trigger
from sweeper.monitoring.list_page import Page, Wanted, read_page
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import avoid

_SWEEPS = select(
    *(column for column in SWEEP.c if column.name != "keys"),
    case((~SWEEP.c.ok, "braked"), (SWEEP.c.found > 0, "found"), else_="quiet").label("outcome"),
)
_SWEEP = (
    ListColumn("at", "at", ColumnKind.TIME),
    ListColumn("rule", "rule"),
    ListColumn("outcome", "outcome", ColumnKind.TAG),
    ListColumn("found", "found", ColumnKind.NUMBER),
    ListColumn("enqueued", "enqueued", ColumnKind.NUMBER),
    ListColumn("already_queued", "already queued", ColumnKind.NUMBER),
    ListColumn("dead", "dead", ColumnKind.NUMBER),
    ListColumn("anomalies", "anomalies", ColumnKind.NUMBER),
    ListColumn("trigger", "trigger", ColumnKind.TAG),
    ListColumn("actor", "by"),
    ListColumn("reason", "why"),
    ListColumn("id", "sweep", ColumnKind.SWEEP),
)
_ANOMALY = (
    ListColumn("key", "key", ColumnKind.KEY),
    ListColumn("reason", "why no machine touches it"),
)


@dataclass(frozen=True, slots=True)
class ListReader:
    """Reads the lists of the ledger, of rules and of job files; older_than is by rule name."""

    database: Database
    catalog: Catalog
    older_than: Mapping[str, timedelta]

    def sweeps(self) -> Listing:
        """Return the list of all scans of rules."""
        outcomes = ("found", "quiet", "braked")
        choices = {"rule": [*self.catalog.rules], "trigger": [*Trigger], "outcome": outcomes}
        place, exact = ("at", "id", "rule"), frozenset({"rule", "at"})
        return Listing(
            "sweeps", "Sweeps", _SWEEPS, place, _SWEEP, at="at", choices=choices, exact=exact
        )

    def anomalies(self, name: str) -> Listing:
        """Return the list of what looks due to a rule and must not be touched, by key."""
        rule = self.catalog.rule(name)
        find = rule.anomalies or _none
        query = find(clock.now() - self.older_than[name])
        place, exact = ("key", "reason"), frozenset({"key"})
        return Listing("anomalies", "Anomalies", query, place, _ANOMALY, key="key", exact=exact)

    def overdue(self, name: str) -> Listing:
        """Return the list of the rows that a rule finds due."""
        rule = self.catalog.rule(name)
        key = rule.job.key
        query = rule.due(clock.now() - self.older_than[name]).order_by(None)
        columns = (
            ListColumn(key, "key", ColumnKind.KEY),
            ListColumn("since", "waits since", ColumnKind.TIME),
        )
        exact = frozenset({key, "since"})
        return Listing(
            "overdue", "Overdue", query, ("since", key), columns, at="since", key=key, exact=exact
        )

    def read(self, listing: Listing, wanted: Wanted) -> Page:
        """Return a page of *listing*; raises UsageError for what cannot be a value of a filter."""
        with self.database.transaction() as tx:
            avoid(tx, "sort")
            try:
                return read_page(tx, listing, wanted, self.catalog.codes)
            except DataError as error:
                message = "a filter, or the place to go on after, is none of this list"
                raise UsageError(message) from error


def _none(_cutoff: datetime) -> Select[Any]:
    nothing: Any = select(literal("").label("key"), literal("").label("reason"))
    empty: Select[Any] = nothing.where(false())
    return empty
