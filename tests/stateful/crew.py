"""The crew: two processes, their threads, and what becomes of them."""

from typing import Any

from tests.stateful.gate import WAITS_TO_BE_ALONE, Order, Walker
from tests.stateful.process import Held
from tests.stateful.world import World

THREADS = (0, 0, 1)
"""Each thread's process: the first has two, the second one."""

_TRIES = 2  # to be alone, before a thread is known to be held up


class Crew:
    """Two processes at work, and three threads, each idle or at its gate.

    walkers -- by thread; None where it is idle
    """

    def __init__(self, world: World) -> None:
        self.processes = [world.process(), world.process()]
        self.walkers: list[Walker | None] = [None] * len(THREADS)
        self._world = world

    @property
    def held(self) -> set[Held]:
        """The reads whose messages somebody believes to hold."""
        return {read for process in self.processes for read in process.held()}

    def begin(self, thread: int, act: str, *, patient: bool = False) -> None:
        """Let an idle thread begin *act*, and stand at its first gate."""
        process = self.processes[THREADS[thread]]
        if not self.walkers[thread] and not (act == "deliver" and process.delivers):
            self.walkers[thread] = process.begin(act, patient=patient)
        self._tidy()

    def step(self, thread: int, order: Order = Order.GO) -> None:
        """Let a thread make one round trip; nothing happens where it is idle, or blocked."""
        walker = self.walkers[thread]
        if walker and not walker.blocked:
            walker.go(order)
        self._tidy()

    def finish(self, thread: int) -> None:
        """Let one thread go on to its end, or to where another one holds it up."""
        tries = 0
        while (walker := self.walkers[thread]) and not walker.blocked and tries < _TRIES:
            tries += walker.place == WAITS_TO_BE_ALONE
            self.step(thread)

    def kill(self, process: int) -> None:
        """Kill a process, and start another one."""
        self._replace(process, {})

    def stop(self, process: int, **settings: Any) -> None:
        """Stop a process as SIGTERM does, and start one with other settings."""
        self.processes[process].stopping = True
        own = [thread for thread, of in enumerate(THREADS) if of == process]
        while any(self.walkers[thread] for thread in own):
            for thread in own:
                self.finish(thread)
            if any(self.walkers[thread] for thread in own):  # held up by one of the other process
                for thread in range(len(THREADS)):
                    self.step(thread)
        self.begin(own[0], "settle debts")
        self.finish(own[0])
        if self.walkers[own[0]] or self.processes[process].owes:
            self.may_crash()
        self._replace(process, settings)

    def end(self) -> None:
        """Kill all processes, and start none."""
        for process in self.processes:
            self._world.kill(process)

    def may_crash(self) -> None:
        """Expect that each message which is held may count one more crash."""
        self._world.past.crashes += 1

    def _replace(self, process: int, settings: dict[str, Any]) -> None:
        self._world.kill(self.processes[process])
        self.processes[process] = self._world.process(**settings)
        for thread, of in enumerate(THREADS):
            if of == process:
                self.walkers[thread] = None
        self._tidy()

    def _tidy(self) -> None:
        """See which threads have ended, and which are blocked no more."""
        for thread, walker in enumerate(self.walkers):
            if walker and walker.blocked:
                walker.settle()
            if walker and walker.ended:
                self.walkers[thread] = None
                self.processes[THREADS[thread]].ended(walker)
