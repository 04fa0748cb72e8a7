"""The oracle: a model of the platform that says, for any history, what the end must be.

It is a second opinion, so it takes nothing from the product: its rules are written from the facts
about the platform. `judgement.py` reads a world from a database and compares the two.

A history may leave open what a pass found: whether it came before a payment or after it. So the
model keeps, for each order, every state that the order may be in.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

PENDING, WAITING = "pending_dp", "awaiting_validation"
CANCELLED, REJECTED, ACCEPTED = "cancelled", "rejected", "awaiting_final_payment"
DELETED = "deleted"  # the order has no row

NOTICES = {
    CANCELLED: (("ORDER_CANCELLED", "buyer"),),
    REJECTED: (("ORDER_REJECTED", "buyer"), ("ORDER_MISSED", "jastiper")),
}
JOB_OF = {CANCELLED: "ORDER_EXPIRE_DP", REJECTED: "ORDER_AUTO_REFUND"}

Lines = frozenset[tuple[str, int]]
"""Pieces by product."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order, as far as it decides what happens to it.

    has_proof     -- whether a proof or a payment's id is stored
    answered_at   -- when the jastiper answered it (validatedAt)
    has_breakdown -- whether the final price was computed, as it is when an order is accepted
    lines         -- the pieces of its items, or else of its own product
    buyer         -- the buyer's phone; wants_notices is the buyer's choice
    jastiper      -- the phone of the trip's owner
    """

    id: str
    placed_at: datetime
    status: str = PENDING
    paid_at: datetime | None = None
    has_proof: bool = False
    answered_at: datetime | None = None
    has_breakdown: bool = False
    deposit: int = 0
    lines: Lines = frozenset()
    buyer: str = ""
    jastiper: str = ""
    wants_notices: bool = True


@dataclass(frozen=True, slots=True)
class Habit:
    """What passes do about orders that stay as they are; the test of such a job brings its own.

    job     -- its type
    notices -- the events that buyers are told of, in turn
    due_at  -- (order, when its buyer was told of each) -> from when on the next is due, or None
    """

    job: str
    notices: tuple[str, ...]
    due_at: Callable[[Order, tuple[datetime, ...]], datetime | None]


@dataclass(frozen=True, slots=True)
class State:
    """An order, and what passes have done about it.

    ends     -- the statuses that passes gave it, in order
    told     -- what habits told its buyer, in order: (job, event, when)
    released -- the pieces that were given back for it, once for each product
    asked    -- how many messages that ask for its stock wait
    refund   -- the amount that was recorded as owed
    """

    order: Order
    ends: tuple[str, ...] = ()
    told: tuple[tuple[str, str, datetime], ...] = ()
    released: Lines = frozenset()
    asked: int = 0
    refund: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a database shows of an order; two of them are compared field by field.

    notices -- (event, the recipient's digits, whether it is suppressed), sorted
    done    -- how many jobs about it had their effect, by type
    """

    status: str
    paid: bool
    answered: bool
    released: Lines
    refund: int | None
    notices: tuple[tuple[str, str, bool], ...]
    done: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class World:
    """The platform's orders and products, told what people and passes did, in order of time.

    taken_at         -- when the platform takes stock, as in the settings
    running          -- whether a service runs, so that a pass may come at any moment; otherwise
                        only those that the world is told of do
    unpaid_after     -- how long an order waits for its down payment
    unanswered_after -- how long one waits for the jastiper, from its payment
    stock            -- what the platform says of each product's stock: passes do not change it
    limited          -- the products whose stock is counted, and can be given back
    restocks         -- the pieces that messages wait to add to a product
    habits           -- what else passes do, apart from cancelling and rejecting
    stuck            -- orders that may stay as they are, because their job is a dead letter
    """

    taken_at: str = "checkout"
    running: bool = False
    unpaid_after: timedelta = timedelta(minutes=30)
    unanswered_after: timedelta = timedelta(hours=24)
    habits: tuple[Habit, ...] = ()
    states: dict[str, frozenset[State]] = field(default_factory=dict)
    stock: dict[str, int | None] = field(default_factory=dict)
    limited: set[str] = field(default_factory=set)
    restocks: dict[str, list[int]] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)

    # What people do. An act's time is when it had committed.

    def sell(self, product: str, stock: int | None, *, limited: bool = True) -> None:
        """Add a product; only goods with a stock that is counted are *limited*."""
        self.stock[product] = stock
        if limited and stock is not None:
            self.limited.add(product)

    def place(self, order: Order) -> None:
        """Add an order."""
        self.states[order.id] = frozenset([State(order)])

    def act(self, order_id: str, at: datetime, *, was: str | None = None, **columns: Any) -> None:
        """Change an order's fields as the platform does: by its id, without asking its status.

        was -- the status that it had, where the platform saw it; other states become impossible
        """
        before = self.states[order_id]
        if self.running:
            before = self.may(before, at)
        kept = [state for state in before if was in (None, state.order.status)]
        assert kept, f"order {order_id} cannot have been {was}: {sorted(map(str, before))}"
        self.states[order_id] = frozenset(
            state
            if state.order.status == DELETED
            else replace(state, order=replace(state.order, **columns))
            for state in kept
        )

    def pay(self, order_id: str, at: datetime, *, was: str | None = None) -> None:
        """Pay the down payment of an order."""
        self.act(order_id, at, was=was, status=WAITING, paid_at=at)

    def accept(self, order_id: str, at: datetime, *, was: str | None = None) -> None:
        """Accept an order, as its jastiper."""
        self.act(order_id, at, was=was, status=ACCEPTED, answered_at=at, has_breakdown=True)

    def send_back(self, order_id: str, at: datetime, *, was: str | None = None) -> None:
        """Let the final payment of an order fail: it waits for its jastiper again."""
        self.act(order_id, at, was=was, status=WAITING)

    def delete(self, order_id: str, at: datetime, *, was: str | None = None) -> None:
        """Delete the row of an order."""
        self.act(order_id, at, was=was, status=DELETED)

    def change_stock(self, product: str, pieces: int) -> None:
        """Add to a product's stock, or take from it, as the platform."""
        self.stock[product] = (self.stock[product] or 0) + pieces

    def ask_release(self, order_id: str) -> None:
        """Send STOCK_RELEASE for an order, with shouldRefund true."""
        asked = (replace(state, asked=state.asked + 1) for state in self.states[order_id])
        self.states[order_id] = frozenset(asked)

    def ask_restock(self, product: str, pieces: int) -> None:
        """Send STOCK_RELEASE for a product."""
        if product in self.limited:
            self.restocks.setdefault(product, []).append(pieces)

    # What passes do.

    def swept(self, at: datetime) -> None:
        """Let a whole pass end: it handled all that was due at its time, and every message."""
        for order_id, states in self.states.items():
            step = self.may if order_id in self.stuck else self.must
            self.states[order_id] = step(states, at)
        for product, pieces in self.restocks.items():
            self.change_stock(product, sum(pieces))
        self.restocks.clear()

    def maybe_swept(self, at: datetime) -> None:
        """Let a pass be cut off at any point: it handled any part of what was due at its time."""
        for order_id, states in self.states.items():
            self.states[order_id] = self.may(states, at)

    def may(self, states: Iterable[State], at: datetime) -> frozenset[State]:
        """Return every state that passes until this time can lead to."""
        reached, ahead = set[State](), list(states)
        while ahead:
            state = ahead.pop()
            reached.add(state)
            ahead += set(self._next(state, at)) - reached
        return frozenset(reached)

    def must(self, states: Iterable[State], at: datetime) -> frozenset[State]:
        """Return the states in which nothing is left for a pass at this time."""
        reached = self.may(states, at)
        return frozenset(state for state in reached if not list(self._next(state, at)))

    # What is right.

    def seen(self, state: State) -> Seen:
        """Return what a database shows of an order in this state."""
        order = state.order
        notices = {
            (event, digits(getattr(order, who)), who == "buyer" and not order.wants_notices)
            for end in state.ends
            for event, who in NOTICES[end]
        }
        notices |= {
            (event, digits(order.buyer), not order.wants_notices) for _, event, _ in state.told
        }
        done = Counter([JOB_OF[end] for end in state.ends] + [job for job, _, _ in state.told])
        exists = order.status != DELETED
        return Seen(
            order.status,
            exists and order.paid_at is not None,
            exists and order.answered_at is not None,
            state.released,
            state.refund,
            tuple(sorted(notices)),
            tuple(sorted(done.items())),
        )

    def stocks(self, product: str, released: int) -> set[int | None]:
        """Return what the stock of a product may be, when orders have given back *released*.

        Passes may have handled any of the messages that wait to add to it.
        """
        stock = self.stock[product]
        if stock is None:
            return {None}
        sums = {stock + released}
        for pieces in self.restocks.get(product, []):
            sums |= {each + pieces for each in sums}
        return set(sums)

    def _next(self, state: State, at: datetime) -> Iterator[State]:
        """Yield the states that one job can lead to."""
        order = state.order
        is_paid = order.paid_at is not None or order.has_proof
        if order.status == PENDING and not is_paid and at - order.placed_at >= self.unpaid_after:
            yield self._ended(state, CANCELLED)
        unanswered = order.status == WAITING and order.answered_at is None
        if unanswered and order.paid_at and at - order.paid_at >= self.unanswered_after:
            owed = replace(state, refund=state.refund or order.deposit or None)
            yield self._ended(owed, REJECTED)
        for habit in self.habits:
            times = tuple(when for job, _, when in state.told if job == habit.job)
            due_at = habit.due_at(order, times) if len(times) < len(habit.notices) else None
            if due_at is not None and at >= due_at:
                new = (habit.job, habit.notices[len(times)], at)
                yield replace(state, told=(*state.told, new))
        if state.asked:
            has_ended = order.status in (CANCELLED, REJECTED)
            yield replace(self._released(state) if has_ended else state, asked=state.asked - 1)

    def _ended(self, state: State, status: str) -> State:
        ended = replace(state.order, status=status)
        return self._released(replace(state, order=ended, ends=(*state.ends, status)))

    def _released(self, state: State) -> State:
        """Give back what the order took, once for each product."""
        before = {product for product, _ in state.released}
        lines = state.order.lines if self._took_stock(state.order) else ()
        new = {(of, pieces) for of, pieces in lines if of in self.limited and of not in before}
        return replace(state, released=state.released | new)

    def _took_stock(self, order: Order) -> bool:
        return {
            "checkout": True,
            "payment": order.paid_at is not None,
            "acceptance": order.answered_at is not None and order.has_breakdown,
            "never": False,
        }[self.taken_at]


def digits(phone: str) -> str:
    """Return a phone's digits as of an Indonesian number, without 0 and 62 at the begin."""
    number = "".join(character for character in phone if character.isdigit())
    while number.startswith(("0", "62")):
        number = number.removeprefix("0").removeprefix("62")
    return number
