"""What is promised about the figures, as ratios of one run, and whether this run holds it."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.contenders import FLOOR, LOOP, ONE, PEERS, TWO
from tests.bench.suite import DELAYS, Results

_BEFORE = 50.0  # orders a second at the larger delay, before the round trips were saved


@dataclass(frozen=True, slots=True)
class Claim:
    """One ratio: *found* must be at least *wanted*."""

    what: str
    wanted: float
    found: float

    @property
    def holds(self) -> bool:
        """Whether it is reached."""
        return self.found >= self.wanted


def claims(results: Results) -> Iterator[Claim]:
    """Yield the claims whose contenders have run."""
    one, far = results.rate(ONE.name), results.far_rate(DELAYS[-1], TWO.name)
    peers = [rate for peer in PEERS if (rate := results.rate(peer.name))]
    way = f"{DELAYS[-1] * 1000:.0f} ms each way"
    for what, wanted, above, below in (
        ("one process / floor of the same effects", 0.8, one, results.rate(FLOOR.name)),
        ("two processes / one", 1.3, results.rate(TWO.name), one),
        ("one process / best peer", 4, one, max(peers, default=None)),
        ("one process / one at a time", 25, one, results.rate(LOOP.name)),
        (f"two processes / {_BEFORE:.0f} orders a second, {way}", 20, far, _BEFORE),
        (
            f"two processes / one at a time, {way}",
            100,
            far,
            results.far_rate(DELAYS[-1], LOOP.name),
        ),
    ):
        if above and below:
            yield Claim(what, wanted, above / below)
