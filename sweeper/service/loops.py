"""The loops of the service: watch the queues, process jobs, scan rules, prune the ledger."""

import uuid
from collections.abc import Callable, Mapping
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
from sweeper.outbound.worker import OutboundWorker
from sweeper.postgres import clock
from sweeper.rule import Rule
from sweeper.service.outage import Outage
from sweeper.sweep.scan import ScanOptions
from sweeper.worker.completion import Completion
from sweeper.worker.drain import Drain

IDLE_TURN = timedelta(seconds=2)
"""How long a loop without work waits before it reports to Health that it runs."""


class Loops:
    """The functions that the service's threads run, each until `stopping` is set.

    workers  -- by the name of the loop: the outbound worker and the drainers
    stopping -- is set when the service must stop
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
        self._awake = {lane: Event() for lane in Lane}
        self.wake()  # so that each worker reads once, and the service is ready by more than a look
        for name, worker in workers.items():
            worker.stopping = partial(self.asked_to_stop, name)

    def threads(self) -> Mapping[str, Callable[[], None]]:
        """Return the loops that need a thread each, by the name of the thread."""
        work = {name: partial(self._work, name, worker) for name, worker in self._workers.items()}
        return {"watch": self._watch, **work}

    def wake(self) -> None:
        """Make every worker read its queues at once."""
        for awake in self._awake.values():
            awake.set()

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
            result = self._app.scanner.scan(rule, options)
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

    def prune(self) -> None:
        """Prune the ledger; an error is logged, and the next call tries again."""
        try:
            self._app.pruner.prune(clock.now(), partial(self.asked_to_stop, "history"))
        except Exception as error:  # noqa: BLE001 -- the next call tries again
            self._outage.tell(error, events.HISTORY_FAILED)

    def _watch(self) -> None:
        """Poll the queues, more often while messages are visible, and wake the workers."""
        rest = self._queue.poll_min
        while not self.stopping.wait(rest.total_seconds()):
            self._health.turned("watch")
            try:
                with self._app.database.glance() as connection:
                    ready = self._app.queues.ready(connection) - self._resting()
            except Exception as error:  # noqa: BLE001 -- the next poll may succeed
                self._outage.tell(error, events.WATCH_FAILED)
                rest = self._queue.poll_max
                continue
            self._outage.end()
            outbound = self._app.queues.outbound
            lanes = {Lane.OUTBOUND if queue == outbound else Lane.DATABASE for queue in ready}
            self._health.looked(lanes)
            # Calls that were answered during an outage of the database must still be recorded.
            for lane in lanes | ({Lane.OUTBOUND} if self._workers["outbound"].active else set()):
                self._awake[lane].set()
            rest = self._queue.poll_min if ready else min(rest * 2, self._queue.poll_max)

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
