"""The service: its start, its loops and its stop, each written once, from top to bottom."""

import signal
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from queue import SimpleQueue
from threading import Event, Lock, Thread

from sweeper import events, notify
from sweeper.app import App
from sweeper.database import gone, in_one_line
from sweeper.drain import Drain
from sweeper.errors import ClockSkewedError
from sweeper.ledger import Trigger
from sweeper.outbound import Outbound
from sweeper.rule import Rule
from sweeper.scan import Request
from sweeper.schedule import Schedule
from sweeper.settle import Tally
from sweeper.sweep import Step

STOP = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class Counters:
    """What the process has done since its start."""

    processed: int = 0
    failed: int = 0
    _lock: Lock = field(default_factory=Lock)

    def add(self, tally: Tally) -> None:
        """Count a step's work in."""
        with self._lock:
            self.processed += tally.done + tally.skipped
            self.failed += tally.failed


class Outage:
    """Remembers that the database is away, so that it is said once when it goes and once after."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._lock = Lock()

    def begin(self, error: BaseException) -> None:
        """Say, once, that the database cannot be reached."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
                events.DATABASE_LOST.tell(error=in_one_line(error))

    def end(self) -> None:
        """Say, once, that the database answers again."""
        with self._lock:
            if self._since is not None:
                seconds = round(time.monotonic() - self._since, 1)
                events.DATABASE_RECOVERED.tell(seconds=seconds)
                self._since = None


class Service:
    """Schedule, drainers and outbound, from `run` until SIGTERM."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._queue = app.settings.queue
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._stopping = Event()
        self._awake = {"database": Event(), "outbound": Event()}
        self._counters = Counters()
        self._outage = Outage()
        self._scanned: set[str] = set()
        self._began = time.monotonic()
        self._ready = Event()
        self._schedule = Schedule(threads=len(app.rules) + 1)
        self._workers = [app.drain() for _ in range(self._queue.drainers)]
        self._outbound = app.outbound()
        self._all_workers: tuple[Drain | Outbound, ...] = (*self._workers, self._outbound)

    def run(self) -> int:
        """Work until told to stop; return the exit code. A second signal stops at once."""
        for number in (*STOP, signal.SIGUSR1):
            signal.signal(number, lambda number, _frame: self._signals.put(number))
        threads = self._start()
        while (told := self._signals.get()) == signal.SIGUSR1:
            for rule in self._app.rules.values():
                self._scan(rule, Trigger.SIGNAL)
        for each in STOP:
            signal.signal(each, signal.SIG_DFL)
        return self._stop(threads, signal.Signals(told).name)

    def _start(self) -> list[Thread]:
        events.SERVICE_STARTED.tell(
            version=version("sweeper"), rules=list(self._app.rules), queue=self._queue.name
        )
        for worker in self._all_workers:
            worker.stopping = self._stopping.is_set
        threads = [
            Thread(target=self._watch, name="watch", daemon=True),
            Thread(target=self._work, args=(self._outbound, "outbound"), daemon=True),
            *(
                Thread(target=self._work, args=(worker, "database"), daemon=True)
                for worker in self._workers
            ),
        ]
        for thread in threads:
            thread.start()
        for rule in self._app.rules.values():
            every = self._app.settings.rules[rule.name].every
            self._schedule.add(rule.name, every, partial(self._scan, rule))
        self._schedule.add("heartbeat", self._app.settings.service.heartbeat_every, self._beat)
        self._schedule.start()
        return threads

    def _stop(self, threads: Iterable[Thread], told_by: str) -> int:
        deadline = time.monotonic() + self._app.settings.service.shutdown_grace.total_seconds()
        events.SERVICE_STOPPING.tell(signal=told_by)
        notify.stopping()
        self._stopping.set()
        for lane in self._awake.values():
            lane.set()
        clock = Thread(target=self._schedule.stop, daemon=True)
        clock.start()
        clean = True
        for thread in (clock, *threads):
            thread.join(max(0, deadline - time.monotonic()))
            clean &= not thread.is_alive()
        self._app.database.close()
        events.SERVICE_STOPPED.tell(
            uptime_seconds=round(time.monotonic() - self._began, 1), clean=clean
        )
        return 0 if clean else 1

    def _scan(self, rule: Rule, trigger: Trigger = Trigger.SCHEDULE) -> None:
        settings = self._app.settings
        every = settings.rules[rule.name].every if trigger is Trigger.SCHEDULE else None
        request = Request(str(uuid.uuid4()), trigger, settings.safety.max_per_sweep, every=every)
        try:
            found = self._app.scanner.scan(rule, request)
        except ClockSkewedError:
            return  # the scan has said so itself
        except Exception as error:  # noqa: BLE001 -- the next tick tries again, whatever it was
            self._outage.begin(error) if gone(error) else events.SCAN_FAILED.tell(
                rule=rule.name, error=in_one_line(error)
            )
            return
        self._scanned.add(rule.name)
        if found and found.enqueued:
            self._awake["database"].set()
        if self._scanned >= self._app.rules.keys() and not self._ready.is_set():
            self._ready.set()
            notify.ready()
            events.SERVICE_READY.tell(seconds=round(time.monotonic() - self._began, 3))

    def _watch(self) -> None:
        """Look for visible messages with one cheap statement, often while there are some."""
        rest = self._queue.poll_min
        while not self._stopping.wait(rest.total_seconds()):
            try:
                with self._app.database.glance() as connection:
                    ready = self._app.queues.ready(connection)
            except Exception as error:  # noqa: BLE001 -- the next look may succeed
                self._outage.begin(error)
                rest = self._queue.poll_max
                continue
            self._outage.end()
            if ready & set(self._app.queues.database):
                self._awake["database"].set()
            if self._app.queues.outbound in ready:
                self._awake["outbound"].set()
            rest = self._queue.poll_min if ready else min(rest * 2, self._queue.poll_max)

    def _work(self, worker: Step, lane: str) -> None:
        """Step while there is work; sleep until somebody says that there is more."""
        awake = self._awake[lane]
        while awake.wait() and not self._stopping.is_set():
            try:
                tally = worker.step()
            except Exception as error:  # noqa: BLE001 -- the message is read again after its lease
                if gone(error):
                    self._outage.begin(error)
                else:
                    events.WORKER_FAILED.tell(lane=lane, error=in_one_line(error))
                tally = None
            if tally is None:
                awake.clear()
            else:
                self._counters.add(tally)
            if self._stopping.is_set():
                return

    def _beat(self) -> None:
        try:
            status = self._app.reader.read()
        except Exception as error:  # noqa: BLE001 -- the heartbeat says DOWN instead
            self._outage.begin(error)
            queued, processing, dead = None, None, None
        else:
            queued = sum(depth.ready + depth.delayed for depth in status.queues.values())
            processing = sum(depth.in_flight for depth in status.queues.values())
            dead = status.dead.count
        up = queued is not None and self._ready.is_set()
        events.SERVICE_HEARTBEAT.tell(
            status="UP" if up else "DOWN",
            uptime_seconds=round(time.monotonic() - self._began, 1),
            active_jobs=sum(worker.active for worker in self._all_workers),
            processed=self._counters.processed,
            failed=self._counters.failed,
            queued=queued,
            processing=processing,
            dead=dead,
        )
        notify.status(
            f"{'UP' if up else 'DOWN'}: {self._counters.processed} processed, "
            f"{self._counters.failed} failed, {queued} queued, {dead} dead"
        )
