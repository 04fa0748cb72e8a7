"""L1 to L8 in histories that failed once, with a fault in the product or one that was planted."""

from collections.abc import Callable, Iterator

import pytest

from tests.stateful.gate import Order
from tests.stateful.machine import Machine
from tests.support.oracle import PENDING, WAITING
from tests.support.verbs import DAY, HIGH, HOUR

ONE = [(0, 1)]
TWO = [(0, 1), (1, 2)]


@pytest.fixture
def history(machine: type[Machine]) -> Iterator[Machine]:
    """Return a machine whose laws are checked after every step, and the oracle at the end."""
    told = machine()
    yield told
    told.teardown()


def tell(history: Machine, *steps: Callable[[Machine], object]) -> None:
    """Take each step, and check every law after it."""
    for step in steps:
        step(history)
        history.laws()


def test_an_order_is_paid_between_scan_and_drain(history: Machine) -> None:
    """L3: the condition is asked again under the lock."""
    tell(
        history,
        lambda it: it.place(PENDING, DAY, TWO),
        lambda it: it.run("scan expire_dp"),
        lambda it: it.pay(0),
        lambda it: it.run("drain"),
    )


def test_two_scans_of_one_rule_take_turns_at_every_statement(history: Machine) -> None:
    """L1: the second waits for the first, and sees what it has sent."""
    tell(
        history,
        lambda it: it.place(PENDING, DAY, ONE),
        lambda it: it.begin(0, "scan expire_dp", patient=True),
        lambda it: it.begin(2, "scan expire_dp", patient=True),
        lambda it: it.go([0, 2] * 6),
    )


def test_a_lease_runs_out_before_the_work(history: Machine) -> None:
    """L1: who deletes the message owns it."""
    tell(
        history,
        lambda it: it.send_restock(HIGH, 0, 1),
        lambda it: it.begin(0, "drain"),
        lambda it: it.go([0]),
        lambda it: it.move_on(HOUR),
        lambda it: it.run("drain"),
        lambda it: it.finish(0),
    )


@pytest.mark.parametrize("trips", range(8))
def test_a_worker_is_killed_after_some_round_trips(history: Machine, trips: int) -> None:
    """L1, L2: of a job that is done, and of one that is to be retried."""
    tell(
        history,
        lambda it: it.place(PENDING, DAY, TWO),
        lambda it: it.place(WAITING, DAY, ONE),
        lambda it: it.breaks(0, broken=True),
        lambda it: it.send_restock(HIGH, 1, 2),
        lambda it: it.run("scan expire_dp"),
        lambda it: it.run("scan auto_refund"),
        lambda it: it.begin(0, "drain"),
        lambda it: it.go([0] * trips),
        lambda it: it.kill(0),
    )


def test_stock_is_asked_for_after_it_was_given_back(history: Machine) -> None:
    """L1: once ever for each order and product."""
    tell(
        history,
        lambda it: it.place(PENDING, DAY, TWO),
        lambda it: it.run("scan expire_dp"),
        lambda it: it.run("drain"),
        lambda it: it.send_release(HIGH, 0, refund=True),
        lambda it: it.run("drain"),
    )


def test_a_stop_gives_back_what_another_process_has_read_meanwhile(history: Machine) -> None:
    """L1, L5: it leaves the other's lease alone, and its count of reads."""
    tell(
        history,
        lambda it: it.place(PENDING, DAY, ONE),
        lambda it: it.place(PENDING, DAY, ONE),
        lambda it: it.run("scan expire_dp"),
        lambda it: it.begin(0, "drain"),
        lambda it: it.go([0]),
        lambda it: it.move_on(HOUR),
        lambda it: it.begin(2, "drain"),
        lambda it: it.go([2]),
        lambda it: it.stop(0, {}),
    )


def test_a_give_back_whose_reply_was_lost_is_not_done_twice(history: Machine) -> None:
    """L1: another process has read the message meanwhile."""
    history.place(PENDING, DAY, ONE)
    history.run("scan expire_dp")
    history.begin(0, "drain")
    history.crew.processes[0].stopping = True
    history.go([0, 0])  # it reads the message, and gives it back, but for the commit
    history.cut(0, Order.DEAF)
    history.finish(0)
    history.crew.processes[0].stopping = False
    tell(
        history,
        lambda it: it.begin(2, "drain"),
        lambda it: it.go([2]),
        lambda it: it.begin(1, "settle debts"),
        lambda it: it.finish(1),
    )


def test_a_read_whose_answer_was_lost_is_no_crash(history: Machine) -> None:
    """L5: its process has given it back before it reads again."""
    history.place(PENDING, DAY, ONE)
    history.run("scan expire_dp")
    history.begin(0, "drain")
    history.cut(0, Order.DEAF)
    assert [1] == [one["read_ct"] for one in history.world.snapshot().live]
    history.go([0] * 3)  # it asks for the read, and gives it back
    assert [0] == [one["read_ct"] for one in history.world.snapshot().live]
    tell(history, lambda it: it.finish(0))
