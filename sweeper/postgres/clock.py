"""The clock: the time of a step in UTC, and its comparison with the database's clock."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import TIMESTAMP, Connection, Dialect, text
from sqlalchemy.types import TypeDecorator

from sweeper import events
from sweeper.errors import ClockSkewedError
from sweeper.postgres import deferred

_DATABASE_TIME = text("select clock_timestamp()")


def now() -> datetime:
    """Return this host's time: aware, UTC, whole milliseconds as the platform's columns hold."""
    at = datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def iso(at: datetime) -> str:
    """Return *at* as the platform writes times in messages: 2026-01-31T12:00:00.000Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def skew(connection: Connection) -> timedelta:
    """Return how far this host's clock is ahead of the database's."""
    before = datetime.now(UTC)
    database_time: datetime = connection.execute(_DATABASE_TIME).scalar_one()
    after = datetime.now(UTC)
    return before + (after - before) / 2 - database_time


def agree(before: datetime, database_time: datetime, after: datetime, allowed: timedelta) -> None:
    """Log and raise ClockSkewedError where the clocks differ by more than *allowed*.

    database_time -- was read between *before* and *after*, which are this host's times
    """
    ahead = _ahead(before, database_time, after)
    if abs(ahead) <= allowed:
        return
    ms = timedelta(milliseconds=1)
    events.CLOCK_SKEWED.log(skew_ms=round(ahead / ms), allowed_ms=round(allowed / ms))
    message = (
        f"this host's clock is {ahead.total_seconds():+.1f} s off the database's; "
        "no order is touched\nset both clocks right, or raise safety.max_clock_skew"
    )
    raise ClockSkewedError(message)


class Comparison:
    """A comparison of the two clocks that is sent with the statements of a transaction.

    It reads the database's clock before them and, in `end`, after them, so that the time which they
    took is nobody's skew. Both readings are deferred; ask for the result when they have been sent.
    """

    def __init__(self, tx: Connection) -> None:
        self._before = self._after = datetime.now(UTC)
        self._database_time = self._before
        deferred.defer(tx, _DATABASE_TIME, then=self._began)

    def end(self, tx: Connection) -> None:
        """Read the database's clock again, after the statements that were deferred meanwhile."""
        deferred.defer(tx, _DATABASE_TIME, then=self._ended)

    def check(self, allowed: timedelta) -> None:
        """Log and raise ClockSkewedError where the clocks differ by more than *allowed*."""
        agree(self._before, self._database_time, self._after, allowed)

    @property
    def skew(self) -> timedelta:
        """How far this host's clock is ahead of the database's."""
        return self._before + (self._after - self._before) / 2 - self._database_time

    def _began(self, rows: deferred.Rows) -> None:
        ((self._database_time,),) = rows

    def _ended(self, rows: deferred.Rows) -> None:
        ((ended,),) = rows
        self._after = datetime.now(UTC) - (ended - self._database_time)


def _ahead(before: datetime, database_time: datetime, after: datetime) -> timedelta:
    """Return how far this host is ahead at least, since the round trip may hide a part of it."""
    if database_time < before:
        return before - database_time
    return min(after - database_time, timedelta())


class UtcTimestamp(TypeDecorator[datetime]):
    """A TIMESTAMP(3) column of the platform: UTC without a zone in SQL, aware in Python."""

    impl = TIMESTAMP
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert an aware time to UTC and drop its zone."""
        del dialect
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Mark the column's time as UTC."""
        del dialect
        return value and value.replace(tzinfo=UTC)
