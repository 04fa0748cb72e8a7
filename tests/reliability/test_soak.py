"""A soak: one fault after the other, at random, and nothing grows and nothing drifts.

An hour in the long form, a little more than a minute in the short one.
"""

import random

from tests.reliability import gauges
from tests.reliability.gauges import growth, wal_growth
from tests.reliability.phases import PHASES
from tests.reliability.postgres import Prepared
from tests.reliability.run import wait_until_settled, wait_until_steady
from tests.reliability.site import Place, Plan, Way, site
from tests.reliability.verdict import judge
from tests.support.length import LONG

PERIOD, FAULT = (30.0, 6.0) if LONG else (12.0, 3.0)
FAULTS = 120 if LONG else 6
SEED = 12

# Nobody's time comes in an hour: young orders would be due before its end.
PLAN = Plan(way=Way.NETWORK, rate=20, bystanders=("x",))
CHOICE = [
    phase
    for phase in PHASES
    if phase.plan.place is Place.DISK
    and phase.plan.way is not Way.POOLER
    and not phase.plan.far_clock
]


def test_a_soak_costs_nothing_and_nothing_grows(prepared: Prepared) -> None:
    """L1, L2, L8: memory, descriptors, connections, threads, dead rows and WAL stay flat."""
    chance = random.Random(SEED)  # noqa: S311 -- faults, not secrets
    with site(prepared, PLAN) as here:
        here.fleet.spared = 1  # so that one process lives from begin to end
        wait_until_steady(here)
        readings = [gauges.read(here)]
        for _ in range(FAULTS):
            with chance.choice(CHOICE).fault(here):
                here.wait(FAULT)
            here.wait(PERIOD - FAULT)
            readings.append(gauges.read(here))
        here.load.stop()
        wait_until_settled(here)
        verdict = judge(here)
        exits = here.fleet.stop()
    unsure = f"{verdict.unsure} notices may have come twice, {verdict.given_up} were given up"
    print(unsure)  # noqa: T201 -- a figure, not a verdict

    assert ([], 0) == (verdict.problems, verdict.attempts)
    assert (verdict.wrong, verdict.lost) == (0, 0)
    assert verdict.due > FAULTS * PERIOD
    assert [0, 0] == exits
    assert growth(readings, "memory") < 10
    assert growth(readings, "descriptors") <= 16  # those of calls under way
    assert growth(readings, "threads") <= 4
    assert growth(readings, "connections") <= 4
    assert growth(readings, "dead") < 20_000
    assert wal_growth(readings) < 2
