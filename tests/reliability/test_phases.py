"""Each phase: two processes under a steady load meet a fault, and it costs nothing but time.

`python -m tests.reliability` runs the same phases at full length, and writes docs/reliability.md.
"""

import pytest

from tests.reliability.missing import MissingError
from tests.reliability.phases import PHASES, Phase
from tests.reliability.postgres import Prepared
from tests.reliability.run import SHORT, Lengths, run
from tests.support.length import LONG

# On a machine that does other things too, the figure says little; the page has the true one.
_SLOW_MACHINE = 20.0


@pytest.mark.parametrize(
    "phase", [each for each in PHASES if LONG or each.short], ids=lambda phase: phase.name
)
def test_a_fault_costs_nothing_but_time(phase: Phase, prepared: Prepared) -> None:
    """L1, L2, L3, L5: no wrong effect, no order lost, no attempt or crash spent; it recovers."""
    try:
        result = run(phase, prepared, Lengths() if LONG else SHORT)
    except MissingError as missing:
        pytest.skip(str(missing))

    assert [] == result.faults
    assert [] == result.unclean
    assert result.recovered is not None
    assert result.recovered <= max(phase.within, _SLOW_MACHINE)
