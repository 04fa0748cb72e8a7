"""Health: the service is ready while scans and steps succeed, and alive while its loops run."""

import sys
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from threading import enumerate as threads
from traceback import extract_stack

from sweeper import events
from sweeper.job import Lane
from sweeper.monitoring import systemd

SLOW = timedelta(seconds=15)
"""What is late by more than this makes the service not ready; it does not cause a restart."""

_BEAT, _FIRST_BEAT = 5.0, 0.25  # seconds between two checks; until the service is first ready


class Health:
    """Records what the service's threads complete, and decides whether it is ready and alive.

    scans    -- by rule: the interval between two scans
    reads    -- the longest interval between two looks at the queues
    loops    -- by name: the longest pause between two iterations
    patience -- the longest that one iteration may take with all its timeouts: after that it hangs
    """

    def __init__(
        self,
        scans: Mapping[str, timedelta],
        reads: timedelta,
        loops: Mapping[str, timedelta],
        patience: timedelta,
    ) -> None:
        self._scans, self._reads, self._loops, self._patience = scans, reads, loops, patience
        self._scanned: dict[str, float] = {}
        self._hindered: dict[str, str] = {}
        self._read: float | None = None
        self._looked: float | None = None
        self._next_look = reads
        self._waits: dict[Lane, float] = {}
        self._began = time.monotonic()
        self._turned = dict.fromkeys(loops, self._began)
        self._was_ready: bool | None = None
        self._changed = self._began
        self._was_stalled = False
        self._waits_for: str | None = None

    def wait(self, reason: str) -> None:
        """Record that the loops are not started yet, and why."""
        self._waits_for = reason

    def begin(self) -> None:
        """Record that the loops are started now."""
        self._waits_for = None
        self._began = time.monotonic()
        self._turned = dict.fromkeys(self._loops, self._began)

    def scanned(self, rule: str) -> None:
        """Record a successful scan of *rule*."""
        self._scanned[rule] = time.monotonic()
        self._hindered.pop(rule, None)

    def hindered(self, rule: str, reason: str) -> None:
        """Record that *rule* cannot be scanned, for a reason that a person must look at."""
        self._hindered[rule] = reason

    def looked(self, lanes: Collection[Lane], next_in: timedelta | None = None) -> None:
        """Record a successful look at the queues, and in which lanes it saw work.

        It claims nothing, so it makes no service ready; but what it saw must then be worked off.

        next_in -- the longest until the next look, where that is not as usual
        """
        self._looked, self._next_look = time.monotonic(), next_in or self._reads
        for lane in Lane:
            if lane not in lanes:
                self._waits.pop(lane, None)
            else:
                self._waits.setdefault(lane, self._looked)

    def read(self, lane: Lane = Lane.DATABASE) -> None:
        """Record that a step of a worker has succeeded, or a batch of it has committed."""
        self._read = time.monotonic()
        self._waits.pop(lane, None)

    def turned(self, loop: str) -> None:
        """Record that an iteration of *loop* has ended, successfully or with an error."""
        self._turned[loop] = time.monotonic()

    def ready(self) -> list[str]:
        """Return the reasons why the service is not ready; empty if it is ready."""
        if self._waits_for:
            return [self._waits_for]
        scans, looked, now = self.scan_ages(), self.read_age(), time.monotonic()
        allowed = (self._reads + SLOW).total_seconds()
        reasons = []
        for rule, every in self._scans.items():
            if rule not in scans:
                reasons.append(f"{rule} was never scanned")
            elif scans[rule] > (2 * every + SLOW).total_seconds():
                reasons.append(f"{rule} was last scanned {scans[rule]:.0f} s ago")
            if hindrance := self._hindered.get(rule):
                reasons.append(f"{rule} cannot be scanned: {hindrance}")
        if self._read is None or looked is None:
            reasons.append("the queues were never read")
        elif looked > (self._next_look + SLOW).total_seconds():
            reasons.append(f"the queues were last read {looked:.0f} s ago")
        reasons += [
            f"no step of the {lane} lane has succeeded for {now - since:.0f} s"
            for lane, since in list(self._waits.items())
            if now - since > allowed
        ]
        late = self._late(min(SLOW, self._patience))
        return reasons + [f"{loop} has not come back" for loop in late]

    @property
    def starting(self) -> bool:
        """Whether the service was never ready yet, and has not taken too long to become it."""
        took = time.monotonic() - self._began
        return self._was_ready is None and took <= (2 * SLOW).total_seconds()

    @property
    def has_begun(self) -> bool:
        """Whether the service was ready once, and systemd knows it."""
        return self._was_ready is not None

    def alive(self) -> list[str]:
        """Return the names of the loops that hang; empty if all run."""
        return [] if self._waits_for else self._late(self._patience)

    def scan_ages(self) -> dict[str, float]:
        """Return the seconds since the last successful scan of each rule that was scanned."""
        now = time.monotonic()
        return {rule: now - at for rule, at in list(self._scanned.items())}

    def read_age(self) -> float | None:
        """Return the seconds since the last good look at the queues, or read; None without one."""
        times = [at for at in (self._looked, self._read) if at is not None]
        return time.monotonic() - max(times) if times else None

    def report(self) -> float:
        """Notify the watchdog, log each change of health once; return the seconds to the next call.

        The watchdog is not notified while a loop hangs. Before the service is ready for the first
        time, systemd watches the start timeout instead, so that is extended.
        """
        stalled, reasons = self.alive(), self.ready()
        if stalled and not self._was_stalled:
            events.LOOP_STALLED.log(loops=stalled, stacks=list(_stacks()))
        self._was_stalled = bool(stalled)
        if not stalled:
            systemd.alive() if self._was_ready is not None else systemd.starting(2 * SLOW)
        if (not reasons) is not bool(self._was_ready):
            self._report_change(reasons)
        if self._was_ready is None:
            return _FIRST_BEAT
        interval = systemd.watchdog()
        return min(_BEAT, interval.total_seconds() / 3) if interval else _BEAT

    def _report_change(self, reasons: list[str]) -> None:
        now = time.monotonic()
        if reasons:
            events.READINESS_LOST.log(reasons=reasons)
            systemd.status(f"DOWN: {'; '.join(reasons)}")
        else:
            systemd.ready()
            systemd.status("UP")
            if self._was_ready is None:
                events.SERVICE_READY.log(seconds=round(now - self._began, 3))
            else:
                events.READINESS_REGAINED.log(seconds=round(now - self._changed, 1))
        self._was_ready, self._changed = not reasons, now

    def _late(self, allowed: timedelta) -> list[str]:
        now = time.monotonic()
        return [
            loop
            for loop, rest in self._loops.items()
            if now - self._turned[loop] > (rest + allowed).total_seconds()
        ]


def _stacks() -> Iterator[str]:
    """Yield the call stack of each thread, the innermost call last."""
    frames = sys._current_frames()  # noqa: SLF001 -- public but for its name
    for thread in threads():
        if thread.ident in frames:
            calls = extract_stack(frames[thread.ident])
            places = (f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in calls)
            yield f"{thread.name}: {' > '.join(places)}"
