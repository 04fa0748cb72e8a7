"""A span of the history: a minute or an hour as one row, and how spans are merged into longer ones.

What stands in the ledger is counted; what does not is sampled from the status.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Column, Double, Integer, Table
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from sweeper.ledger import METADATA

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

SHORTEST_WAIT = 0.05
"""Waits of no more seconds than this are counted as one length."""

GROWTH = 1.1
"""How much longer each counted length of a wait is than the one before: how exact a quantile is."""

HISTORY = Table(
    "history",
    METADATA,
    Column("seconds", Integer, primary_key=True),
    Column("at", TIMESTAMP(timezone=True), primary_key=True),
    Column("found", BigInteger),
    Column("enqueued", BigInteger),
    Column("done", BigInteger),
    Column("deaths", BigInteger),
    Column("retries", BigInteger),
    Column("outbound", BigInteger),
    Column("waits", JSONB(none_as_null=True)),
    Column("overdue", BigInteger),
    Column("oldest_overdue_seconds", Double),
    Column("waiting", BigInteger),
    Column("dead", BigInteger),
    Column("figures", JSONB(none_as_null=True)),
)

_COUNTED = ("enqueued", "done", "deaths", "retries", "outbound")
_SAMPLED = ("found", "overdue", "oldest_overdue_seconds", "waiting", "dead")


@dataclass(frozen=True, slots=True)
class Span:
    """What happened from *at* on for so many seconds; None stands for what is not known.

    found    -- the most rows that one scan has found due
    enqueued -- jobs that sweeps have sent, and `done` those that were done
    deaths   -- jobs that became dead letters
    retries  -- executions beyond the first of the jobs that ended
    outbound -- outbound jobs that were done
    waits    -- of the jobs in `done`, from their scan on: how many by `length_of` their wait
    overdue  -- the highest that was sampled, as are all that follow
    """

    seconds: int
    at: datetime
    found: float | None = None
    enqueued: float | None = None
    done: float | None = None
    deaths: float | None = None
    retries: float | None = None
    outbound: float | None = None
    waits: Mapping[str, int] | None = None
    overdue: float | None = None
    oldest_overdue_seconds: float | None = None
    waiting: float | None = None
    dead: float | None = None
    figures: Mapping[str, float] | None = None

    @property
    def is_counted(self) -> bool:
        """Whether it is known what stands in the ledger about this span."""
        return self.done is not None


def floor(at: datetime, step: timedelta) -> datetime:
    """Return the latest whole *step* that is not after *at*."""
    epoch = datetime.fromtimestamp(0, UTC)
    return at - (at - epoch) % step


def merged(spans: Sequence[Span], at: datetime, length: timedelta) -> Span:
    """Return the spans that lie in the time from *at* on as one span.

    Counts are added where all of the time is known, from where the history begins; of samples the
    highest is taken.
    """
    counted = [span for span in spans if span.is_counted]
    known = at + length - min((span.at for span in counted), default=at)
    is_whole = sum(span.seconds for span in counted) == known.total_seconds()
    counts = {name: _over(sum, counted, name) if is_whole else None for name in _COUNTED}
    samples = {name: _over(max, spans, name) for name in _SAMPLED}
    waits: Counter[str] = Counter()
    figures: dict[str, float] = {}
    for span in spans:
        waits.update(span.waits or {})
        for name, value in (span.figures or {}).items():
            figures[name] = max(value, figures.get(name, value))
    seconds = round(length.total_seconds())
    return Span(
        seconds,
        at,
        **counts,
        **samples,
        waits=dict(waits) if is_whole else None,
        figures=figures or None,
    )


def _over(
    together: Callable[[Iterable[float]], float], spans: Sequence[Span], name: str
) -> float | None:
    """Put the values of *name* that are known together; None if none is."""
    values = [value for span in spans if (value := getattr(span, name)) is not None]
    return together(values) if values else None


def length_of(seconds: float) -> int:
    """Return which of the counted lengths a wait of *seconds* has, as the statement does."""
    return math.ceil(math.log(max(seconds, SHORTEST_WAIT) / SHORTEST_WAIT) / math.log(GROWTH))


def quantile(waits: Mapping[str, int] | None, share: float) -> float | None:
    """Return how many seconds *share* of the jobs waited at most; None without a job.

    It is exact to the difference of two lengths: to a tenth.
    """
    left = share * sum((waits or {}).values())
    for length, jobs in sorted((int(length), jobs) for length, jobs in (waits or {}).items()):
        if jobs and left <= jobs:
            longest = SHORTEST_WAIT * GROWTH**length
            shortest = longest / GROWTH if length else 0.0
            return shortest + (longest - shortest) * left / jobs
        left -= jobs
    return None
