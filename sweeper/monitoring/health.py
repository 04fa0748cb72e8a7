"""Whether the service works: ready by completed scans and reads, alive by loops that turn."""

import sys
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from threading import enumerate as threads
from traceback import extract_stack

from sweeper import events
from sweeper.monitoring import systemd

SLOW = timedelta(seconds=15)
"""What takes so much longer than it should makes the service not ready; nothing is restarted."""

_BEAT, _FIRST_BEAT = 5.0, 0.25  # seconds between two looks; until the service is ready at first


class Health:
    """Fed by the service's threads, asked by whoever wants to know.

    scans    -- by rule: the time between two scans
    reads    -- the longest between two looks at the queues
    loops    -- by name: the longest rest between two turns
    patience -- the longest that one turn may take, all its timeouts used up: beyond it, it hangs
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
        self._read: float | None = None
        self._began = time.monotonic()
        self._turned = dict.fromkeys(loops, self._began)
        self._was_ready: bool | None = None
        self._changed = self._began
        self._was_stalled = False

    def scanned(self, rule: str) -> None:
        """Record a good scan."""
        self._scanned[rule] = time.monotonic()

    def read(self) -> None:
        """Record a good look at the queues."""
        self._read = time.monotonic()

    def turned(self, loop: str) -> None:
        """Record that an attempt has ended, well or with a clear error."""
        self._turned[loop] = time.monotonic()

    def ready(self) -> list[str]:
        """Return why the service does not do its work; empty where it does."""
        scans, read = self.scan_ages(), self.read_age()
        reasons = []
        for rule, every in self._scans.items():
            if rule not in scans:
                reasons.append(f"{rule} was never scanned")
            elif scans[rule] > (2 * every + SLOW).total_seconds():
                reasons.append(f"{rule} was last scanned {scans[rule]:.0f} s ago")
        if read is None:
            reasons.append("the queues were never read")
        elif read > (self._reads + SLOW).total_seconds():
            reasons.append(f"the queues were last read {read:.0f} s ago")
        late = self._late(min(SLOW, self._patience))
        return reasons + [f"{loop} has not come back" for loop in late]

    def alive(self) -> list[str]:
        """Return the loops that hang; empty where all turn."""
        return self._late(self._patience)

    def scan_ages(self) -> dict[str, float]:
        """Return the seconds since each rule's last good scan; those without one are missing."""
        now = time.monotonic()
        return {rule: now - at for rule, at in list(self._scanned.items())}

    def read_age(self) -> float | None:
        """Return the seconds since the last good look at the queues, None before the first."""
        return None if self._read is None else time.monotonic() - self._read

    def report(self) -> float:
        """Feed the watchdog while all loops turn, say once what changed; return when to ask again.

        Until the service is ready at first, systemd counts the start instead: that is fed as well.
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
        watched = systemd.watchdog()
        return min(_BEAT, watched.total_seconds() / 3) if watched else _BEAT

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
    """Yield where each thread stands, the innermost call last."""
    frames = sys._current_frames()  # noqa: SLF001 -- public but for its name
    for thread in threads():
        if thread.ident in frames:
            calls = extract_stack(frames[thread.ident])
            places = (f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in calls)
            yield f"{thread.name}: {' > '.join(places)}"
