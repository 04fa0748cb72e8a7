"""The clock: the time of a step in UTC, and its comparison with the database's clock."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import TIMESTAMP, Connection, Dialect, text
from sqlalchemy.types import TypeDecorator

from sweeper import events
from sweeper.errors import ClockSkewedError

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


def check(connection: Connection, allowed: timedelta) -> None:
    """Raise ClockSkewedError where the database's clock differs by more than *allowed*."""
    before = datetime.now(UTC)
    database_time: datetime = connection.execute(_DATABASE_TIME).scalar_one()
    agree(before, database_time, datetime.now(UTC), allowed)


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
