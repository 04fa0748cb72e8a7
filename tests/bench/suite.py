"""The suite: every contender in turn, several rounds, then what is measured once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.progress import Progress

from tests.bench.contenders import FLOOR, LOOP, ONE, TWO, Contender
from tests.bench.machine import describe
from tests.bench.processes import processes
from tests.bench.runs import Counts, Run, count, run
from tests.bench.same_effects import differences
from tests.bench.server import Server
from tests.bench.steady import latencies

DELAYS = (0.025, 0.1)  # seconds, each way
FAR = (FLOOR, TWO, LOOP)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    orders, rounds -- of each contender; the slow ones get a part of the orders
    counted        -- orders of the runs behind the counting proxy, likewise
    far, far_loop  -- orders over the slow network: of most, and of the loop
    far_rounds     -- rounds over the slow network
    steady         -- messages of the steady load
    """

    orders: int = 20_000
    rounds: int = 3
    counted: int = 4_000
    far: int = 10_000
    far_loop: int = 12
    far_rounds: int = 2
    steady: int = 300


QUICK = Size(2_000, 1, 2_000, 2_000, 4, 1, 50)


@dataclass(slots=True)
class Results:
    """What was measured; each part by the contender's name."""

    size: Size
    machine: Mapping[str, str]
    contenders: Sequence[Contender]
    missing: Sequence[str]
    runs: dict[str, list[Run]] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)
    far: dict[tuple[float, str], list[Run]] = field(default_factory=dict)
    steady: tuple[float, float] | None = None

    def rate(self, name: str) -> float | None:
        """Return the contender's median rate from end to end; None if it did not run."""
        runs = self.runs.get(name)
        return median(each.rate for each in runs) if runs else None

    def far_rate(self, delay: float, name: str) -> float | None:
        """Return the contender's median rate of work over the slow network."""
        runs = self.far.get((delay, name))
        return median(each.work_rate for each in runs) if runs else None


@dataclass(frozen=True, slots=True)
class Suite:
    """Measures on one server, with a progress bar."""

    server: Server
    size: Size
    console: Console

    def measure(self, chosen: Sequence[Contender]) -> Results:
        """Measure all of *chosen* whose packages are installed."""
        missing = [each.name for each in chosen if each.is_missing]
        for name in missing:
            self.console.print(f"[bold red]{name} is not installed: it is left out")
        there = [each for each in chosen if not each.is_missing]
        far = [each for each in FAR if each in there]
        rounds, far_rounds = self.size.rounds, self.size.far_rounds
        results = Results(self.size, describe(self.server), there, missing)
        steps = 1 + len(there) * (rounds + 1) + len(far) * len(DELAYS) * far_rounds + (ONE in there)
        with self._progress(steps) as advance:
            advance("comparing the floor's effects with the engine's")
            check_same_effects(self.server)
            for _ in range(rounds):
                for each in there:
                    advance(each.name)
                    found = run(self.server, each, self.size.orders // each.share)
                    results.runs.setdefault(each.name, []).append(found)
            for each in there:
                advance(f"{each.name}, counting")
                orders = self.size.counted // each.share
                results.counts[each.name] = count(self.server, each, orders)
            for delay in DELAYS * far_rounds:
                for each in far:
                    advance(f"{each.name}, {delay * 1000:.0f} ms each way")
                    orders = self.size.far_loop if each is LOOP else self.size.far
                    found = run(self.server, each, orders, products=1, delay=delay)
                    results.far.setdefault((delay, each.name), []).append(found)
            if ONE in there:
                advance("a steady load")
                results.steady = latencies(self.server, self.size.steady)
        return results

    @contextmanager
    def _progress(self, steps: int) -> Iterator[Callable[[str], None]]:
        with Progress(console=self.console, transient=True) as progress:
            task = progress.add_task("starting", total=steps)
            begun = False

            def advance(what: str) -> None:
                nonlocal begun
                progress.update(task, advance=begun, description=what)
                begun = True

            yield advance


def check_same_effects(server: Server, orders: int = 1_000) -> None:
    """Raise AssertionError unless the floor leaves the very rows that the engine leaves."""
    with server.copy(orders, name="by_engine") as ours, server.copy(orders, name="by_hand") as hand:
        for contender, url in ((ONE, ours), (FLOOR, hand)):
            with processes(contender, url) as (process,):
                for method in ("enqueue", "work"):
                    process.tell(method)
                    process.wait()
        found = differences(ours, hand)
    if found:
        message = "the floor has other effects than the engine:\n" + "\n".join(found)
        raise AssertionError(message)
