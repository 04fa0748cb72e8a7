"""The machine: Hypothesis writes histories of the platform, strangers, workers and faults.

Two processes work on one database, the first with two threads, the second with one. Each of these
three threads waits at a gate before every round trip, and the history says who goes on.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.stateful import laws
from tests.stateful.crew import Crew
from tests.stateful.gate import Order
from tests.stateful.past import HostClock
from tests.stateful.process import ACTS
from tests.stateful.world import LIVE, World
from tests.support.fake_provider import Behaviour
from tests.support.hostile import hostile
from tests.support.oracle import ACCEPTED, PENDING, REJECTED, WAITING
from tests.support.verbs import DAY, DEAD, HIGH, HOUR, MINUTE

RAW = (
    None,
    "1",
    "[]",
    '"text"',
    '{"type": 1}',
    '{"type": "UNKNOWN", "payload": {}}',
    '{"type": "ORDER_EXPIRE_DP", "payload": {"orderId": [1]}}',
    '{"type": "ORDER_EXPIRE_DP", "payload": {"orderIds": []}}',
    '{"type": "NOTIFICATION_SEND_WHATSAPP", "payload": {"messageId": "none", "maxRetries": "x"}}',
)
FAULTS = ("kill", "stop", "lose", "deaf", "leases")
SETTINGS: dict[str, tuple[Any, ...]] = {
    "queue.batch": (1, 2, 500),
    "queue.visibility": ("30s", "60s"),
    "safety.max_per_sweep": (1, 3, 1000),
    "retry.max_retries": (0, 1, 3),
}

orders = st.integers(0, 5)
statuses = st.sampled_from([PENDING, WAITING])
ages = st.sampled_from([DAY, MINUTE * 30, timedelta()])
queues = st.sampled_from(LIVE)
threads = st.integers(0, 2)
turns = st.lists(threads, min_size=1, max_size=15)
workers = st.sampled_from([*ACTS, "drain", "drain", "drain"])
quantities = st.integers(1, 3)
lines = st.lists(st.tuples(st.integers(0, 3), quantities), min_size=1, max_size=3)
placed = st.tuples(statuses, ages, lines)


class Machine(RuleBasedStateMachine):
    """One history; its rules may be called by hand to tell a certain one again."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.world.begin()
        self.crew = Crew(self.world)
        self.failed = False

    @invariant()
    def laws(self) -> None:
        """Check every law that holds at any moment."""
        try:
            laws.check(self.world, self.crew.processes)
        except AssertionError:
            self.failed = True
            raise

    @initialize(placed=st.lists(placed, min_size=1, max_size=4), restocks=st.integers(0, 2))
    def open(
        self, placed: Sequence[tuple[str, timedelta, Sequence[tuple[int, int]]]], restocks: int
    ) -> None:
        """Begin with some orders, and with messages that a second execution would show."""
        for order in placed:
            self.world.place(*order)
        for product in range(restocks):
            self.send_restock(HIGH, product, 1)

    # The platform.

    @rule(status=statuses, age=ages, lines=lines)
    def place(self, status: str, age: timedelta, lines: Sequence[tuple[int, int]]) -> None:
        """Place an order: fresh, or due as one of its kind; one line is the older route."""
        self.world.place(status, age, lines)

    @rule(number=orders)
    def pay(self, number: int) -> None:
        """Pay an order, whatever has become of it."""
        self._act(number, status=WAITING, paid_at=HostClock.at)

    @rule(number=orders)
    def accept(self, number: int) -> None:
        """Accept an order, whatever has become of it."""
        self._act(number, status=ACCEPTED, answered_at=HostClock.at, has_breakdown=True)

    @rule(number=orders)
    def refuse(self, number: int) -> None:
        """Reject an order, as its jastiper."""
        self._act(number, status=REJECTED, answered_at=HostClock.at)

    @rule(number=orders, status=statuses)
    def send_back(self, number: int, status: str) -> None:
        """Send an order back to a state in which it is due."""
        paid_at = HostClock.at - DAY if status == WAITING else None
        self._act(number, status=status, paid_at=paid_at, answered_at=None, has_breakdown=False)

    @rule(number=orders)
    def delete(self, number: int) -> None:
        """Delete an order."""
        if self.world.past.orders:
            self.world.delete(self._order(number))

    @rule(number=orders, broken=st.booleans())
    def breaks(self, number: int, broken: bool) -> None:  # noqa: FBT001 -- Hypothesis gives it by its name
        """Let the database refuse to change an order, or no more."""
        if self.world.past.orders:
            self.world.breaks(self._order(number), broken=broken)

    # Strangers.

    @rule(queue=queues, kind=st.sampled_from(["EXPIRE_DP", "AUTO_REFUND"]), number=orders)
    def send_order_job(self, queue: str, kind: str, number: int) -> None:
        """Send a job about one order, due or not."""
        self.world.send_job(queue, f"ORDER_{kind}", {"orderId": self._order(number)})

    @rule(queue=queues, numbers=st.sets(orders, min_size=2, max_size=3))
    def send_list(self, queue: str, numbers: set[int]) -> None:
        """Send a message about several orders."""
        listed = list(dict.fromkeys(map(self._order, sorted(numbers))))
        self.world.send_job(queue, "ORDER_EXPIRE_DP", {"orderIds": listed})

    @rule(queue=queues, number=orders, refund=st.booleans())
    def send_release(self, queue: str, number: int, refund: bool) -> None:  # noqa: FBT001 -- likewise
        """Ask for the stock of an order, whether it has ended or not."""
        payload = {"orderId": self._order(number), "shouldRefund": refund}
        self.world.send_job(queue, "STOCK_RELEASE", payload)

    @rule(queue=queues, product=st.integers(0, 3), quantity=quantities)
    def send_restock(self, queue: str, product: int, quantity: int) -> None:
        """Add to the stock of a product."""
        payload = {"productId": sorted(self.world.past.oracle.stock)[product], "quantity": quantity}
        self.world.send_job(queue, "STOCK_RELEASE", payload)

    @rule(queue=queues, phone=st.sampled_from(["081234567890", hostile("phone")]))
    def send_text(self, queue: str, phone: str) -> None:
        """Send a text of one's own."""
        payload = {"recipientPhone": phone, "message": hostile("text")}
        self.world.send_job(queue, "NOTIFICATION_SEND_WHATSAPP", payload)

    @rule(queue=st.sampled_from([*LIVE, DEAD]), raw=st.sampled_from(RAW))
    def send_raw(self, queue: str, raw: str | None) -> None:
        """Send what is no job."""
        self.world.send(queue, raw)

    @rule(number=st.integers(0, 9), queue=st.none() | queues)
    def copy(self, number: int, queue: str | None) -> None:
        """Send a message once more, into its own queue or another one."""
        if live := self.world.snapshot().live:
            message = live[number % len(live)]
            self.world.copy(message, queue or message["queue"])

    # Time, and the provider.

    @rule(by=st.sampled_from([MINUTE, MINUTE * 30, HOUR, DAY]))
    def move_on(self, by: timedelta) -> None:
        """Move the clocks forward: delays end, and leases run out, whoever is at work."""
        self.crew.may_crash()
        self.world.move_on(by, self.crew.held)

    @rule(behaviour=st.sampled_from(Behaviour))
    def answer(self, behaviour: Behaviour) -> None:
        """Let the provider answer like this from now on."""
        self.world.provider.behaviour = behaviour
        self.world.past.failing |= behaviour is not Behaviour.OK
        self.world.past.uncertain |= behaviour not in (Behaviour.OK, Behaviour.BUSY)

    # Workers, and what happens to them.

    @rule(thread=threads, act=workers, patient=st.booleans())
    def begin(self, thread: int, act: str, patient: bool = False) -> None:  # noqa: FBT001, FBT002 -- likewise
        """Let a thread begin something, and stand at its first gate."""
        self.world.past.dropped |= act == "drop"
        self.crew.begin(thread, act, patient=patient)

    @rule(turns=turns)
    def go(self, turns: Sequence[int]) -> None:
        """Let threads make one round trip each, in this order."""
        for thread in turns:
            self.crew.step(thread)

    @rule(thread=threads, order=st.sampled_from([Order.LOSE, Order.DEAF]))
    def cut(self, thread: int, order: Order) -> None:
        """Cut the connection of a thread, before its statement arrives or after it."""
        self.world.past.uncertain = True
        self.crew.step(thread, order)

    @rule(act=workers, trips=st.integers(0, 8), fault=st.sampled_from(FAULTS))
    def interrupt(self, act: str, trips: int, fault: str) -> None:
        """Let a thread do something, and meet a fault after so many round trips."""
        self.begin(0, act)
        self.go([0] * trips)
        match fault:
            case "kill":
                self.kill(0)
            case "stop":
                self.stop(0, {})
            case "lose":
                self.cut(0, Order.LOSE)
            case "deaf":
                self.cut(0, Order.DEAF)
            case _:  # its leases run out, and another process does the work
                self.move_on(MINUTE)
                self.run("drain")
        self.crew.finish(0)

    @rule(acts=st.tuples(workers, workers), turns=turns, patient=st.booleans())
    def race(self, acts: tuple[str, str], turns: Sequence[int], patient: bool) -> None:  # noqa: FBT001 -- likewise
        """Let two processes do something at the same time, in turns, to the end."""
        self.begin(0, acts[0], patient=patient)
        self.begin(2, acts[1], patient=patient)
        self.go(turns)
        self.crew.finish(0)
        self.crew.finish(2)

    @rule(thread=threads)
    def finish(self, thread: int) -> None:
        """Let a thread end what it does, while the others stand still."""
        self.crew.finish(thread)

    @rule()
    def scan(self) -> None:
        """Scan both rules."""
        self.run("scan expire_dp")
        self.run("scan auto_refund")

    @rule(act=workers)
    def run(self, act: str) -> None:
        """Let one thread do something from its begin to its end."""
        self.begin(2, act)
        self.crew.finish(2)

    @rule(process=st.integers(0, 1))
    def kill(self, process: int) -> None:
        """Kill a process, wherever its threads are, and start another one."""
        self.world.past.uncertain = True
        self.crew.may_crash()
        self.crew.kill(process)

    @rule(
        process=st.integers(0, 1),
        data=st.fixed_dictionaries(
            {name: st.sampled_from(values) for name, values in SETTINGS.items()}
        ),
    )
    def stop(self, process: int, data: dict[str, Any]) -> None:
        """Stop a process as SIGTERM does, and start it with other settings."""
        self.crew.stop(process, **data)

    # The end.

    def teardown(self) -> None:
        """Bring the world to rest, and compare it with the oracle and the audit."""
        try:
            if not self.failed:
                self._rest()
        finally:
            self.crew.end()

    def _rest(self) -> None:
        self.world.heal()
        for process in range(len(self.crew.processes)):
            self.crew.stop(process)
        for turn in range(_TURNS):
            self.world.move_on(HOUR, set())
            for act in ("scan expire_dp", "scan auto_refund", "drain", "deliver"):
                self.run(act)
            found = self.world.snapshot()
            if found.dead and turn < _REVIVED:
                self.run("revive")
            elif laws.is_rest(found):
                break
            self.laws()
        laws.check_rest(self.world, self.crew.processes[1].app.auditor.audit())

    def _order(self, number: int) -> str:
        """Return the id of an order; one that never was, where there is none."""
        placed = self.world.past.orders
        return placed[number % len(placed)] if placed else "none"

    def _act(self, number: int, **columns: Any) -> None:
        if self.world.past.orders:
            self.world.act(self._order(number), **columns)


_TURNS = 8  # of the sweeps that bring the world to rest: enough for every retry
_REVIVED = 2  # of them, in which dead letters are retried
