"""L1 to L8 in histories that Hypothesis writes: every law after every step, the oracle at rest."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.machine import Machine
from tests.support.length import LONG

EXAMPLES, STEPS = (2_000, 100) if LONG else (25, 30)


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
