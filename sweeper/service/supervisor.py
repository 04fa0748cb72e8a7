"""The service: its start, its loops and its stop, each written once, from top to bottom."""

import faulthandler
import signal
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from queue import Empty, SimpleQueue
from threading import Event, Thread

from sweeper import events
from sweeper.app import App
from sweeper.errors import ClockSkewedError
from sweeper.ledger import Trigger
from sweeper.monitoring import systemd
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.outbound.worker import OutboundWorker
from sweeper.postgres import clock
from sweeper.postgres.errors import in_one_line, is_disconnected
from sweeper.rule import Rule
from sweeper.service.heartbeat import Heartbeat
from sweeper.service.outage import Outage
from sweeper.service.scheduler import Schedule
from sweeper.settings import DatabaseSettings
from sweeper.sweep.scan import ScanOptions
from sweeper.web.server import Web
from sweeper.worker.drain import Drain

STOP = (signal.SIGTERM, signal.SIGINT)

_NAP = timedelta(seconds=2)  # after which a loop that has no work shows that it turns
_PRUNING = timedelta(hours=1)


class Service:
    """Schedule, drainers and outbound, from `run` until SIGTERM."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._queue = app.settings.queue
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._stopping = Event()
        self._awake = {"database": Event(), "outbound": Event()}
        outbound = app.outbound()
        self._counters = Stats(self._active, lambda: outbound.blocked)
        app.completer.observe = self._counters.observe
        self._outage = Outage()
        self._began = time.monotonic()
        self._workers: dict[str, Drain | OutboundWorker] = {
            "outbound": outbound,
            **{f"drain {number + 1}": app.drain() for number in range(self._queue.drainers)},
        }
        scans = {name: app.settings.rules[name].every for name in app.rules}
        self._timetable = {
            **scans,
            "heartbeat": app.settings.service.heartbeat_every,
            "history": _PRUNING,
            "schedule": _NAP,  # shows that the clock itself goes
        }
        self._schedule = Schedule(threads=len(self._timetable) + 1)
        naps = dict.fromkeys(self._workers, _NAP)
        self._health = Health(
            scans=scans,
            reads=self._queue.poll_max,
            loops={"watch": self._queue.poll_max, **naps, **self._timetable},
            patience=_patience(app.settings.database),
        )
        self._web = Web(app, self._counters, self._health, self._wake)

    def run(self) -> int:
        """Work until told to stop; return the exit code. A second signal stops at once."""
        # The watchdog's SIGABRT leaves stacks in the journal, whatever holds the interpreter.
        faulthandler.enable(2)
        for number in (*STOP, signal.SIGUSR1):
            signal.signal(number, lambda number, _frame: self._signals.put(number))
        threads = self._start()
        while (told := self._told(self._health.tell())) not in STOP:
            for rule in self._app.rules.values() if told else ():
                self._schedule.soon(partial(self._scan, rule, Trigger.SIGNAL))
        for each in STOP:
            signal.signal(each, signal.SIG_DFL)
        return self._stop(threads, signal.Signals(told).name)

    def _told(self, seconds: float) -> int:
        """Return the next signal, or 0 where none comes in time."""
        with suppress(Empty):
            return self._signals.get(timeout=seconds)
        return 0

    def _start(self) -> list[Thread]:
        if self._app.settings.web.enabled:
            self._web.open()
        events.SERVICE_STARTED.log(
            version=version("sweeper"), rules=list(self._app.rules), queue=self._queue.name
        )
        for name, worker in self._workers.items():
            worker.stopping = partial(self._asked_to_stop, name)
        threads = [
            Thread(target=self._watch, name="watch", daemon=True),
            *(
                Thread(target=self._work, args=(name, worker), name=name, daemon=True)
                for name, worker in self._workers.items()
            ),
        ]
        for thread in threads:
            thread.start()
        calls: dict[str, Callable[[], None]] = {
            **{name: partial(self._scan, rule) for name, rule in self._app.rules.items()},
            "heartbeat": Heartbeat(self._app, self._counters, self._health, self._outage).beat,
            "history": self._prune,
            "schedule": lambda: None,
        }
        for name, every in self._timetable.items():
            self._schedule.add(name, every, partial(self._turn, name, calls[name]))
        self._schedule.start()
        return threads

    def _stop(self, threads: Iterable[Thread], told_by: str) -> int:
        deadline = time.monotonic() + self._app.settings.service.shutdown_grace.total_seconds()
        events.SERVICE_STOPPING.log(signal=told_by)
        systemd.stopping()
        self._web.close()
        self._stopping.set()
        self._wake()
        clock = Thread(target=self._schedule.stop, daemon=True)
        clock.start()
        clean = True
        for thread in (clock, *threads):
            thread.join(max(0, deadline - time.monotonic()))
            clean &= not thread.is_alive()
        self._app.database.close()
        events.SERVICE_STOPPED.log(
            uptime_seconds=round(time.monotonic() - self._began, 1), clean=clean
        )
        return 0 if clean else 1

    def _wake(self) -> None:
        for lane in self._awake.values():
            lane.set()

    def _active(self) -> int:
        return sum(worker.active for worker in self._workers.values())

    def _turn(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        finally:
            self._health.turned(name)

    def _asked_to_stop(self, loop: str) -> bool:
        """Return whether to stop; whoever asks, between two transactions, shows that it turns."""
        self._health.turned(loop)
        return self._stopping.is_set()

    def _scan(self, rule: Rule, trigger: Trigger = Trigger.SCHEDULE) -> None:
        settings = self._app.settings
        every = settings.rules[rule.name].every if trigger is Trigger.SCHEDULE else None
        request = ScanOptions(
            str(uuid.uuid4()), trigger, settings.safety.max_per_sweep, every=every
        )
        try:
            found = self._app.scanner.scan(rule, request)
        except ClockSkewedError:
            return  # the scan has said so itself
        except Exception as error:  # noqa: BLE001 -- the next tick tries again, whatever it was
            self._counters.scanned(rule.name, "failed")
            self._outage.begin(error) if is_disconnected(error) else events.SCAN_FAILED.log(
                rule=rule.name, error=in_one_line(error)
            )
            return
        self._health.scanned(rule.name)
        self._counters.scanned(rule.name, "braked" if found and found.braked else "ok")
        if found and found.enqueued:
            self._awake["database"].set()

    def _watch(self) -> None:
        """Look for visible messages with one cheap statement, often while there are some."""
        rest = self._queue.poll_min
        while not self._stopping.wait(rest.total_seconds()):
            self._health.turned("watch")
            try:
                with self._app.database.glance() as connection:
                    ready = self._app.queues.ready(connection)
            except Exception as error:  # noqa: BLE001 -- the next look may succeed
                self._outage.begin(error)
                rest = self._queue.poll_max
                continue
            self._outage.end()
            self._health.read()
            if ready & set(self._app.queues.database):
                self._awake["database"].set()
            # What has been answered while the database was away waits to be recorded.
            if self._app.queues.outbound in ready or self._workers["outbound"].active:
                self._awake["outbound"].set()
            rest = self._queue.poll_min if ready else min(rest * 2, self._queue.poll_max)

    def _work(self, name: str, worker: Drain | OutboundWorker) -> None:
        """Step while there is work; sleep until somebody says that there is more."""
        lane = "outbound" if isinstance(worker, OutboundWorker) else "database"
        awake = self._awake[lane]
        while not self._asked_to_stop(name):
            if not awake.wait(_NAP.total_seconds()) or self._stopping.is_set():
                continue
            try:
                tally = worker.step()
            except Exception as error:  # noqa: BLE001 -- the message is read again after its lease
                if is_disconnected(error):
                    self._outage.begin(error)
                else:
                    events.WORKER_FAILED.log(lane=lane, error=in_one_line(error))
                awake.clear()
                continue
            self._health.read()
            if tally is None:
                awake.clear()
            else:
                self._counters.add(tally)

    def _prune(self) -> None:
        try:
            self._app.pruner.prune(clock.now(), partial(self._asked_to_stop, "history"))
        except Exception as error:  # noqa: BLE001 -- the next hour tries again
            self._outage.begin(error) if is_disconnected(error) else events.HISTORY_FAILED.log(
                error=in_one_line(error)
            )


def _patience(database: DatabaseSettings) -> timedelta:
    """Return the longest that one turn may take, if every timeout in it is used up.

    A batch takes at most eight statements, and may have to wait for the pool and to connect.
    """
    return 8 * database.statement_timeout + 2 * database.connect_timeout
