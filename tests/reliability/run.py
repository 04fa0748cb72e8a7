"""Runs one phase: the load, the fault, the recovery, and the verdict."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sweeper.retry import LONGEST_REST
from tests.reliability.measure import Timeline
from tests.reliability.phases import Phase
from tests.reliability.postgres import Prepared
from tests.reliability.site import RATE, Site, site
from tests.reliability.verdict import Verdict, judge, left

_STEADY_WITHIN = 240.0  # seconds until the service does what arrives, on a slow machine too
_SOME = 50  # messages that are under way on a slow machine
_SETTLED_WITHIN = 90.0 + LONGEST_REST.total_seconds()  # a second call may have lost its process
_DONE = """
    select extract(epoch from pg_xact_commit_timestamp(xmin))::float8 from sweeper.job_log
    where outcome = 'done' and job_type = any(%s) order by 1
"""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many seconds a phase lasts before its fault, in it and after it; and orders a second."""

    before: float = 8.0
    fault: float = 8.0
    after: float = 12.0
    rate: int = RATE


SHORT = Lengths(before=3.0, fault=4.0, after=8.0, rate=50)


@dataclass(slots=True)
class Result:
    """What a phase has shown.

    before, during, after -- jobs a second
    recovered  -- seconds from the fault's end until the rate before was reached; None for never
    told       -- the warnings and errors in the logs, by event
    seconds    -- jobs done in each second of the phase
    fault      -- when the fault began and ended, in seconds of the phase
    unclean    -- exit codes of processes that ended though nobody asked, or not with 0 at the end
    error      -- why the phase could not be run
    """

    phase: Phase
    before: float = 0.0
    during: float = 0.0
    after: float = 0.0
    recovered: float | None = None
    verdict: Verdict = field(default_factory=Verdict)
    told: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    fault: tuple[float, float] = (0.0, 0.0)
    unclean: list[int] = field(default_factory=list)
    tracebacks: str = ""
    error: str | None = None

    @property
    def faults(self) -> list[str]:
        """What is not as it must be, in words; how soon it recovered is not among it."""
        verdict = self.verdict
        found = [*verdict.problems]
        if verdict.attempts:
            found.append(f"{verdict.attempts} attempts were spent")
        if verdict.crashes and not self.phase.crashes:
            found.append(f"{verdict.crashes} crashes were counted")
        if self.recovered is None:
            found.append("the rate before was not reached again")
        if "Traceback" in self.tracebacks:
            found.append(self.tracebacks)
        return found + ([self.error] if self.error else [])


def run(
    phase: Phase,
    prepared: Prepared,
    lengths: Lengths,
    tick: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run one phase on a new site; *tick* is told what happens now."""
    with site(prepared, replace(phase.plan, rate=lengths.rate)) as here:
        return _measure(phase, here, lengths, tick)


def _measure(phase: Phase, here: Site, lengths: Lengths, tick: Callable[[str], None]) -> Result:
    tick("the service starts")
    wait_until_steady(here)
    tick("before the fault")
    begin = time.time()
    here.wait(lengths.before)
    position, fault = here.fleet.position(), time.time()
    tick("the fault")
    with phase.fault(here):
        here.wait(lengths.fault)
    end = time.time()
    tick("after the fault")
    here.wait(max(lengths.after, phase.after))
    until = time.time()
    here.load.stop()
    tick("the end")
    wait_until_settled(here)
    result = Result(phase, told=here.fleet.told(position), unclean=here.fleet.failures)
    result.unclean += [code for code in here.fleet.stop() if code]
    result.tracebacks = here.fleet.tracebacks()
    result.verdict = judge(here)
    line = timeline(here, phase.counted)
    result.before, result.during = line.rate(begin, fault), line.rate(fault, end)
    result.recovered = line.recovered(begin, fault, end, until)
    result.after = line.rate(end + (result.recovered or 0.0), until)
    result.seconds = line.by_second(begin, until)
    result.fault = (fault - begin, end - begin)
    return result


def timeline(here: Site, counted: tuple[str, ...]) -> Timeline:
    """Return when jobs of some types were done, by the times at which their effects committed."""
    with here.survivor.session() as session:
        done = [at for (at,) in session.execute(_DONE, [list(counted)])]
    share = len(done) / max(1, sum(count for _, count in here.load.placed))
    placed = [(at, round(count * share)) for at, count in here.load.placed]
    return Timeline(placed, done)


def wait_until_steady(here: Site) -> None:
    """Return when orders are ended about as fast as they are placed."""
    deadline = time.monotonic() + _STEADY_WITHIN
    while time.monotonic() < deadline:
        here.wait(1.0)
        placed = sum(count for _, count in here.load.placed)
        rate, waiting = here.load.rate, left(here)
        if placed - waiting > rate and waiting < 3 * rate + _SOME:
            return
    last = here.fleet.lines([0] * here.fleet.size)[-3:]
    message = f"{left(here)} are left: the service does not keep up with the load\n{last}"
    raise TimeoutError(message)


def wait_until_settled(here: Site) -> None:
    """Return when nothing is left to do, or after a time that is long enough for everything."""
    deadline = time.monotonic() + _SETTLED_WITHIN
    while time.monotonic() < deadline and left(here):
        here.wait(0.5)
