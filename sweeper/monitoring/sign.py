"""The last sign of a running service: what it has written into the database, from any machine."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from sweeper.humanize import age
from sweeper.postgres import deferred
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database

# A scan of a schedule names its process. A minute that was sampled names none, but is there also
# while every rule is paused. Both are read from the newest on, and no further than is kept of them.
_LAST_SIGN = text("""
    select at, host, extract(epoch from now() - at) from (
        (select least(at + interval '1 minute', now()) as at, cast(null as text) as host
            from sweeper.history where seconds = 60 and overdue is not null
            order by sweeper.history.at desc limit 1)
        union all
        (select at, host from sweeper.sweep
            where at > now() - interval '1 hour' and trigger in ('schedule', 'signal')
            order by at desc limit 1)
    ) as signs order by at desc limit 1
""")


@dataclass(frozen=True, slots=True)
class Sign:
    """When a service was seen the last time, by the database's clock; None where there is no sign.

    host     -- the process, as host:pid, where the sign names it
    patience -- how old the sign of a running service may be
    """

    at: datetime | None
    host: str | None
    seconds: float
    patience: timedelta

    @property
    def runs(self) -> bool:
        """Whether a service runs, as far as the database tells."""
        return self.at is not None and self.seconds <= self.patience.total_seconds()

    def __str__(self) -> str:
        if self.at is None:
            return "No service runs, and there is no sign that one did."
        if not self.runs:
            return f"No service runs: the last sign of one is {age(self.seconds)} old."
        where = f" on {self.host.rpartition(':')[0]}" if self.host else ""
        return f"A service runs{where}: its last sign is {age(self.seconds)} old."

    def as_json(self) -> dict[str, Any]:
        """Return the sign as the document of `sweeper status --json` shows it."""
        return {
            "runs": self.runs,
            "seen_at": iso(self.at) if self.at else None,
            "seen_seconds": round(self.seconds, 3) if self.at else None,
            "instance": self.host,
        }


def last_sign(database: Database, heartbeat_every: timedelta) -> Sign:
    """Return the last sign of a service that beats so often."""
    patience = max(timedelta(minutes=3), 2 * heartbeat_every + timedelta(minutes=1))
    with database.transaction() as tx:
        deferred.avoid(tx, "seqscan", "sort")
        row = tx.execute(_LAST_SIGN).one_or_none()
    at, host, seconds = row or (None, None, 0.0)
    return Sign(at, host, max(0.0, float(seconds)), patience)
