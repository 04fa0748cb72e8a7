"""The phases: each is one fault, what it happens to, and how long its recovery may take."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from tests.reliability import faults
from tests.reliability.site import Place, Plan, Site, Way

WITHIN = 5.0
"""The seconds after a fault's end in which the rate before must be reached."""

_NOTICES = "NOTIFICATION_SEND_WHATSAPP"
_ORDERS = "ORDER_EXPIRE_DP", "ORDER_AUTO_REFUND"


@dataclass(frozen=True, slots=True)
class Phase:
    """One fault.

    title    -- what happens, in words
    counted  -- the job types whose rate is measured
    within   -- the seconds that its recovery may take
    after    -- the seconds to look on after it, at least
    crashes  -- whether it kills a process of ours: what that has read is counted as a crash
    short    -- whether it belongs to the short form
    """

    name: str
    title: str
    fault: Callable[[Site], AbstractContextManager[None]]
    plan: Plan = field(default_factory=Plan)
    counted: tuple[str, ...] = _ORDERS
    within: float = WITHIN
    after: float = 0.0
    crashes: bool = False
    short: bool = False


_NETWORK = Plan(way=Way.NETWORK)
# What a killed process had read comes back when its lease ends; its call under way may do so twice.
_SHORT_LEASE = Plan(settings={"SWEEPER_QUEUE__VISIBILITY": "4s", "SWEEPER_WHATSAPP__TIMEOUT": "3s"})
# Calls are paced by naps, and under libfaketime each nap is far too long.
_FAR_CLOCK = Plan(far_clock=True, settings={"SWEEPER_WHATSAPP__PROVIDER": "log"})
# Long enough to see that the rate stays: a backlog of notices waits for the provider's return.
_PROVIDER = 24.0

PHASES = (
    Phase(
        "postgres-down",
        "Postgres stops and is started",
        faults.postgres_down,
        short=True,
    ),
    Phase("postgres-crash", "Postgres is killed every 2 s", faults.postgres_crash),
    Phase(
        "backends",
        "its backends are terminated every second",
        faults.backends_terminated,
    ),
    Phase("connections", "max_connections is exhausted", faults.no_connection_left),
    Phase("xmin", "xmin is pinned by four readers", faults.pinned_xmin),
    Phase("table", 'the table "Order" is locked', faults.locked_table),
    Phase("locks", "the scans' locks are squatted", faults.squatted_locks),
    Phase(
        "disk",
        "the server's disk is full",
        faults.disk_full,
        Plan(place=Place.SMALL_DISK),
    ),
    Phase("failover", "failover to a standby", faults.failover, Plan(place=Place.PAIR)),
    Phase("half-open", "the network is half-open", faults.half_open, _NETWORK),
    Phase("refused", "connections are refused", faults.refused, _NETWORK),
    Phase(
        "far",
        "100 ms each way, 1 % of packets lost for good",
        faults.far_and_shaky,
        _NETWORK,
    ),
    Phase(
        "pooler",
        "PgBouncer is killed and started",
        faults.pooler_down,
        Plan(way=Way.POOLER),
        short=True,
    ),
    Phase(
        "kill",
        "kill -9 of a worker every 2 s",
        faults.kills,
        _SHORT_LEASE,
        crashes=True,
        short=True,
    ),
    Phase("deploy", "a rolling deploy (SIGTERM) every 2 s", faults.rolling_deploy, short=True),
    Phase(
        "clock",
        "the host's clock jumps an hour, both ways",
        faults.clock_jumps,
        _FAR_CLOCK,
        short=True,
    ),
    Phase(
        "provider-down",
        "the provider is down",
        faults.provider_down,
        counted=(_NOTICES,),
        after=_PROVIDER,
        short=True,
    ),
    Phase("provider-slow", "the provider takes 1 s", faults.provider_slow, counted=(_NOTICES,)),
    Phase(
        "provider-busy",
        "the provider throttles (429)",
        faults.provider_busy,
        counted=(_NOTICES,),
        after=_PROVIDER,
    ),
    Phase(
        "provider-garbage",
        "the provider answers garbage",
        faults.provider_garbage,
        counted=(_NOTICES,),
        after=_PROVIDER,
    ),
)
