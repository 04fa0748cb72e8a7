"""The supervisor: starts the loops of the service, obeys signals, and stops all in order."""

import faulthandler
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from threading import Thread

from sweeper import events
from sweeper.app import App
from sweeper.ledger import Trigger
from sweeper.monitoring import systemd
from sweeper.monitoring.health import Health
from sweeper.monitoring.span import MINUTE
from sweeper.monitoring.stats import Stats
from sweeper.monitoring.status import Status
from sweeper.monitoring.version import version
from sweeper.outbound.worker import OutboundWorker
from sweeper.service import signals
from sweeper.service.heartbeat import Heartbeat
from sweeper.service.hint import Hint
from sweeper.service.loops import IDLE_TURN, Loops
from sweeper.service.outage import Outage
from sweeper.service.patience import Patience
from sweeper.service.reload import Reload
from sweeper.service.scheduler import Scheduler
from sweeper.service.upkeep import Upkeep
from sweeper.settings import DatabaseSettings
from sweeper.web.server import Web
from sweeper.worker.drain import Drain

_PRUNE_EVERY = timedelta(hours=1)
_TO_POSTPONE = timedelta(seconds=5)  # of the grace: to postpone what is cancelled; at most a third
_TURN = 0.5  # seconds between two cancellations of what still runs


class Supervisor:
    """Runs the scheduler, the drainers, the outbound worker and the web server until SIGTERM."""

    def __init__(self, app: App, received: signals.Received | None = None) -> None:
        self._app = app
        self._signals = received or signals.Received()
        self._outage = Outage()
        self._began = time.monotonic()
        outbound, queue = app.outbound(), app.settings.queue
        workers: dict[str, Drain | OutboundWorker] = {
            "outbound": outbound,
            **{f"drain {number + 1}": app.drain() for number in range(queue.drainers)},
        }
        scans = {name: app.settings.rules[name].every for name in app.rules}
        self._timetable = {
            **scans,
            "heartbeat": app.settings.service.heartbeat_every,
            "history": _PRUNE_EVERY,
            "minutes": MINUTE,
            "schedule": IDLE_TURN,  # shows Health that the scheduler itself runs
        }
        self._scheduler = Scheduler(threads=len(self._timetable) + 1)
        self._health = Health(
            scans=scans,
            reads=queue.poll_max,
            loops={
                "watch": queue.poll_max,
                **dict.fromkeys(workers, IDLE_TURN),
                **self._timetable,
            },
            patience=_longest_turn(app.settings.database),
        )
        self._stats = Stats(self._active, lambda: outbound.blocked)
        self._loops = Loops(app, workers, self._stats, self._health, self._outage)
        self._hint = self._loops.hint = Hint(app, self._loops.look)
        app.completer.observe = self._loops.observe
        self._web = Web(app, self._stats, self._health, self._loops.wake)
        self._reload = Reload(app, self._web, self._health)
        self._upkeep = Upkeep(app, self._outage, self._loops.asked_to_stop)
        self._heartbeat = Heartbeat(app, self._stats, self._health, self._outage, self._saw)

    def run(self) -> int:
        """Run until SIGTERM or SIGINT and return the exit code; a second signal stops at once.

        A database that is away is waited for. Raises what keeps the service from starting for good.
        """
        # On the watchdog's SIGABRT, write all stacks to the journal, even if the interpreter hangs.
        faulthandler.enable(2)
        signals.on_stop(self._signals.put)
        signals.on_scan(partial(self._signals.put, signals.SCAN))
        patience = Patience(
            self._app, self._health, self._outage, self._heartbeat.beat, self._next_signal
        )
        is_usable = patience.is_usable()
        self._open()
        if not is_usable and (received := patience.wait()):
            return self._stop([], received)
        threads = self._start()
        while (received := self._next_signal(self._health.report())) not in signals.STOP:
            for rule in self._app.rules.values() if received else ():
                self._scheduler.soon(partial(self._loops.scan, rule, Trigger.SIGNAL))
        return self._stop(threads, received)

    def _next_signal(self, seconds: float) -> str:
        """Return the name of the next signal, or "" if there is none within *seconds*.

        A reload is done here, so that it can also be asked for while a start waits.
        """
        received = self._signals.next(seconds)
        if received != signals.RELOAD:
            return received
        self._reload()
        return ""

    def _open(self) -> None:
        """Let people and machines see the service, before it is known whether it can work."""
        if self._app.settings.web.enabled:
            self._web.open()
        events.SERVICE_STARTED.log(
            version=version(),
            rules=list(self._app.rules),
            queue=self._app.settings.queue.name,
        )

    def _start(self) -> list[Thread]:
        threads = [
            Thread(target=loop, name=name, daemon=True)
            for name, loop in self._loops.threads().items()
        ]
        for thread in threads:
            thread.start()
        self._hint.start()
        calls: dict[str, Callable[[], None]] = {
            **{name: partial(self._loops.scan, rule) for name, rule in self._app.rules.items()},
            "heartbeat": self._heartbeat.beat,
            "history": self._upkeep.prune,
            "minutes": self._upkeep.record,
            "schedule": lambda: None,
        }
        for name, every in self._timetable.items():
            self._scheduler.add(name, every, partial(self._turn, name, calls[name]))
        self._scheduler.start()
        return threads

    def _stop(self, threads: Iterable[Thread], received: str) -> int:
        grace = self._app.settings.service.shutdown_grace
        deadline = time.monotonic() + grace.total_seconds()
        cancel_at = deadline - min(_TO_POSTPONE, grace / 3).total_seconds()
        events.SERVICE_STOPPING.log(signal=received)
        systemd.stopping()
        self._web.close()
        self._loops.stopping.set()
        self._loops.wake()
        scheduler = Thread(target=self._scheduler.stop, daemon=True)
        scheduler.start()
        threads = [scheduler, *threads]
        clean = _joined(threads, cancel_at)
        while not clean and (now := time.monotonic()) < deadline:
            self._app.database.cancel(cancel_at)
            clean = _joined(threads, min(now + _TURN, deadline))
        if clean:
            with suppress(Exception):  # then the leases end, as after a crash
                self._app.give_back.retry()
        self._hint.stop()
        self._app.database.close()
        events.SERVICE_STOPPED.log(
            uptime_seconds=round(time.monotonic() - self._began, 1), clean=clean
        )
        return 0 if clean else 1

    def _saw(self, status: Status) -> None:
        self._loops.saw(status)
        self._upkeep.saw(status)

    def _active(self) -> int:
        return self._loops.active()

    def _turn(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        finally:
            self._health.turned(name)


def _joined(threads: Iterable[Thread], deadline: float) -> bool:
    """Wait for *threads* until *deadline*, in monotonic seconds; return whether all have ended."""
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _longest_turn(database: DatabaseSettings) -> timedelta:
    """Return the longest that one iteration of a loop can take if every timeout is used up.

    A batch has at most eight statements, and may have to wait for the pool and for a connection.
    """
    return 8 * database.statement_timeout + 2 * database.connect_timeout
