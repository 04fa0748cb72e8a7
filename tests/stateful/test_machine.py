"""L1 to L8 in histories that Hypothesis writes: every law after every step, the oracle at rest."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from sweeper.postgres import clock
from tests.stateful.machine import Machine
from tests.stateful.past import HostClock
from tests.stateful.world import World
from tests.support.fake_provider import provider
from tests.support.length import LONG

EXAMPLES, STEPS = (2_000, 100) if LONG else (40, 30)


@pytest.fixture
def machine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Machine]]:
    """Return the machine on a database of its own."""
    monkeypatch.setattr(clock, "datetime", HostClock)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # thousands of lines
    with provider("fonnte") as fake:
        world = World(database_url, fake)
        yield type("Machine", (Machine,), {"world": world})
        world.close()


def test_every_law_holds_in_every_history(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=not LONG,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
