"""The loops of the service: watch the queues, process jobs, scan rules."""

import math
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from threading import Event

from sweeper import events
from sweeper.app import App
from sweeper.errors import ClockSkewedError, LockedError
from sweeper.job import Lane
from sweeper.ledger import Trigger
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.monitoring.status import Status
from sweeper.outbound.worker import OutboundWorker
from sweeper.queue.acts import Act, Action, By, Origin
from sweeper.queue.look import Look, look
from sweeper.rule import Rule
from sweeper.service.hint import Hint
from sweeper.service.outage import Outage
from sweeper.sweep.scan import ScanOptions
from sweeper.worker.completion import Completion
from sweeper.worker.drain import Drain

IDLE_TURN = timedelta(seconds=2)
"""How long a loop without work waits before it reports to Health that it runs."""

_WHO_SENT = "whoever sent SIGUSR1"  # a signal does not say who


class Loops:
    """The functions that the service's threads run, each until `stopping` is set.

    workers  -- by the name of the loop: the outbound worker and the drainers
    stopping -- is set when the service must stop
    hint     -- tells the watch of new messages; None where it only polls
    """

    def __init__(
        self,
        app: App,
        workers: Mapping[str, Drain | OutboundWorker],
        stats: Stats,
        health: Health,
        outage: Outage,
    ) -> None:
        self.stopping = Event()
        self._app = app
        self._queue = app.settings.queue
        self._workers = workers
        self._stats = stats
        self._health = health
        self._outage = outage
        self.hint: Hint | None = None
        self._look = Event()
        self._looked_at = 0.0
        self._awake = {lane: Event() for lane in Lane}
        self.wake()  # so that each worker reads once, and the service is ready by more than a look
        for name, worker in workers.items():
            worker.stopping = partial(self.asked_to_stop, name)

    def threads(self) -> Mapping[str, Callable[[], None]]:
        """Return the loops that need a thread each, by the name of the thread."""
        work = {name: partial(self._work, name, worker) for name, worker in self._workers.items()}
        return {"watch": self._watch, **work}

    def wake(self) -> None:
        """Make every worker read its queues at once, and the watch look."""
        for awake in self._awake.values():
            awake.set()
        self._look.set()

    def look(self) -> None:
        """Make the watch look at the queues at once."""
        self._look.set()

    def saw(self, status: Status) -> None:
        """Take a status that was read for a look, where the queues are empty."""
        depths = status.queues.values()
        if any(depth.ready or depth.in_flight or depth.delayed for depth in depths):
            self._look.set()
        else:
            self._wake_for(())

    def active(self) -> int:
        """Return how many jobs are fetched and not yet completed."""
        return sum(worker.active for worker in self._workers.values())

    def asked_to_stop(self, loop: str) -> bool:
        """Return whether the service must stop, and record that *loop* runs.

        loop -- the name of the loop, which calls this between two transactions
        """
        self._health.turned(loop)
        return self.stopping.is_set()

    def observe(self, completion: Completion, seconds: float) -> None:
        """Record a batch that has committed: its numbers, and that its lane does its work."""
        self._stats.observe(completion, seconds)
        self._health.read(completion.batch.jobs[0].type.lane)

    def scan(self, rule: Rule, trigger: Trigger = Trigger.SCHEDULE) -> None:
        """Scan *rule* and wake the workers; an error is logged, and the next scan tries again."""
        settings = self._app.settings
        every = settings.rules[rule.name].every if trigger is Trigger.SCHEDULE else None
        options = ScanOptions(
            str(uuid.uuid4()), trigger, settings.safety.max_per_sweep, every=every
        )
        try:
            with self._recorded(rule, trigger) as act:
                result = self._app.scanner.scan(rule, options)
                if act:
                    held = result is None or result.braked > 0
                    act.finish(str(result or "it is paused"), refused=held)
        except ClockSkewedError:
            return  # the scan has logged it
        except Exception as error:  # noqa: BLE001 -- the next scan tries again
            self._stats.scanned(rule.name, "failed")
            self._outage.tell(error, events.SCAN_FAILED, rule=rule.name)
            if isinstance(error, LockedError):
                self._health.hindered(rule.name, str(error).partition("\n")[0])
            return
        self._health.scanned(rule.name)
        self._stats.scanned(rule.name, "braked" if result and result.braked else "ok")
        if result and result.enqueued:
            self._awake[Lane.DATABASE].set()

    @contextmanager
    def _recorded(self, rule: Rule, trigger: Trigger) -> Iterator[Act | None]:
        """Yield the act that a scan is for which a signal asks; None for the schedule's."""
        if trigger is not Trigger.SIGNAL:
            yield None
            return
        by = By(_WHO_SENT, Origin.SIGNAL)
        with self._app.acts.recording(Action.SWEEP, rule.name, by) as act:
            act.begin()
            yield act

    def _watch(self) -> None:
        """Look at the queues, more often while there is work, and wake the workers."""
        pace, rest, coming = self._queue.poll_min, self._queue.poll_min, None
        while not self._paused(rest, coming):
            self._look.clear()
            try:
                with self._app.database.glance() as connection:
                    found = look(connection, self._app.queues)
            except Exception as error:  # noqa: BLE001 -- the next poll may succeed
                self._outage.tell(error, events.WATCH_FAILED)
                pace, rest, coming = self._queue.poll_max, self._queue.poll_max, None
                continue
            self._outage.end()
            ready = self._wake_for(found.ready)
            pace = self._queue.poll_min if ready else min(pace * 2, self._queue.poll_max)
            rest = self._rest(pace, found)
            coming = self._coming(found if rest > pace else None)

    def _paused(self, rest: timedelta, coming: timedelta | None) -> bool:
        """Wait until it is time to look; return whether the service must stop.

        rest   -- how long after the last look, whoever looked
        coming -- how long until a message becomes visible, if it is known
        """
        began = time.monotonic()
        visible_at = math.inf if coming is None else began + coming.total_seconds()
        while not self.asked_to_stop("watch"):
            due = max(began, self._looked_at) + rest.total_seconds()
            left = min(due, visible_at) - time.monotonic()
            turn = min(left, self._queue.poll_max.total_seconds())
            if left <= 0 or self._look.wait(turn):
                break
        return self.stopping.is_set()

    def _rest(self, pace: timedelta, found: Look) -> timedelta:
        """Return how long to wait until the next look: long only where the hint tells of work."""
        if self.hint and (shadow := self.hint.shadow):
            return min(pace, shadow)
        # Of what an idle service waits for, only leases and delays end without a notification.
        idle = not found.ready and not self.active() and pace == self._queue.poll_max
        return self._longest_rest() if idle else pace

    def _coming(self, found: Look | None) -> timedelta | None:
        """Return how long until a message may be handled that may not be now, if it is known."""
        worker = self._workers["outbound"]
        visible = found.next_in if found else None
        if not isinstance(worker, OutboundWorker) or not self._resting():
            return visible
        return worker.pause if visible is None else min(worker.pause, visible)

    def _longest_rest(self) -> timedelta:
        return self._queue.poll_hint if self.hint and self.hint.is_alive else self._queue.poll_max

    def _wake_for(self, visible: Collection[str]) -> Collection[str]:
        """Wake the workers of the lanes with a message that may be read; return those queues."""
        self._looked_at = time.monotonic()
        outbound = self._app.queues.outbound
        ready = set(visible) - self._resting()
        lanes = {Lane.OUTBOUND if queue == outbound else Lane.DATABASE for queue in ready}
        self._health.looked(lanes, self._longest_rest())
        # Calls that were answered during an outage of the database must still be recorded.
        for lane in lanes | ({Lane.OUTBOUND} if self._workers["outbound"].active else set()):
            self._awake[lane].set()
        return ready

    def _resting(self) -> set[str]:
        """Return the outbound queue while its worker leaves its messages alone."""
        worker = self._workers["outbound"]
        rests = isinstance(worker, OutboundWorker) and worker.resting
        return {self._app.queues.outbound} if rests else set()

    def _work(self, name: str, worker: Drain | OutboundWorker) -> None:
        """Run the worker while it finds jobs; then sleep until the watch loop wakes it.

        After an error it rests, after another one longer, so that it does not flood the log.
        """
        lane = Lane.OUTBOUND if isinstance(worker, OutboundWorker) else Lane.DATABASE
        awake, rest = self._awake[lane], self._queue.poll_min
        while not self.asked_to_stop(name):
            if not awake.wait(IDLE_TURN.total_seconds()) or self.stopping.is_set():
                continue
            try:
                tally = worker.step()
            except Exception as error:  # noqa: BLE001 -- the message is read again after its lease
                if not isinstance(error, ClockSkewedError):  # which is logged
                    self._outage.tell(error, events.WORKER_FAILED, lane=lane)
                awake.clear()
                self.stopping.wait(rest.total_seconds())
                rest = min(rest * 2, IDLE_TURN)
                continue
            rest = self._queue.poll_min
            self._health.read(lane)
            if tally is None:
                awake.clear()
            else:
                self._stats.add(tally)
