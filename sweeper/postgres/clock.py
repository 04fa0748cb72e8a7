"""The time: read once at the top of a step, in UTC, and held against the database's own clock."""

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
    there: datetime = connection.execute(_DATABASE_TIME).scalar_one()
    after = datetime.now(UTC)
    return before + (after - before) / 2 - there


def agree(before: datetime, there: datetime, after: datetime, allowed: timedelta) -> None:
    """Raise ClockSkewedError, and say so, where the clocks differ by more than is *allowed*.

    there -- the database's time, read between *before* and *after* on this host
    """
    ahead = _ahead(before, there, after)
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
    """Ask the database for its time, and hold it against this host's; see `agree`."""
    before = datetime.now(UTC)
    there: datetime = connection.execute(_DATABASE_TIME).scalar_one()
    agree(before, there, datetime.now(UTC), allowed)


def _ahead(before: datetime, there: datetime, after: datetime) -> timedelta:
    """Return by how much this host is ahead at the least: the round trip may hide the rest."""
    if there < before:
        return before - there
    return min(after - there, timedelta())


class UtcTimestamp(TypeDecorator[datetime]):
    """A platform's TIMESTAMP(3) column: no zone in the database, always UTC, aware in Python."""

    impl = TIMESTAMP
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Drop the zone once the time is UTC."""
        del dialect
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Say that the time is UTC."""
        del dialect
        return value and value.replace(tzinfo=UTC)
