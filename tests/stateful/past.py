"""What one history has brought so far: the time on this host, and what people and faults did."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import ClassVar, Self

from tests.stateful.process import Held
from tests.support.oracle import World as Oracle
from tests.support.verbs import NOW


class HostClock(datetime):
    """This host's clock, which stands still until the machine moves it on."""

    at: ClassVar[datetime] = NOW

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """Return the time at which the clock stands."""
        at = cls.at.astimezone(tz)
        return cls(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, tz)


@dataclass(slots=True)
class Past:
    """What has happened in one example, as far as the database does not say it.

    oracle    -- what the platform did, and what may follow from it
    orders    -- the orders that were ever placed, the oldest first
    sent      -- how many jobs strangers have sent
    letters   -- how many dead letters strangers have sent
    copies    -- how many copies there were of each job that a sweep sent, by type and key
    expired   -- the reads whose leases the machine has ended
    crashes   -- how many reads of one message may have ended without a decision, at most
    broken    -- the orders that the database ever refused to change
    dropped   -- whether dead letters were dropped
    uncertain -- whether a call may have been made whose reply nobody knows
    failing   -- whether the provider has ever not accepted a message
    """

    oracle: Oracle = field(default_factory=Oracle)
    orders: list[str] = field(default_factory=list)
    sent: int = 0
    letters: int = 0
    copies: Counter[tuple[str, str]] = field(default_factory=Counter)
    expired: set[Held] = field(default_factory=set)
    crashes: int = 0
    broken: set[str] = field(default_factory=set)
    dropped: bool = False
    uncertain: bool = False
    failing: bool = False
