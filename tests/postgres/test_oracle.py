"""The oracle of the chaos tests: examples computed by hand, and wrong effects planted by SQL."""

import pytest
from sqlalchemy import Connection

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.judgement import (
    assert_as_expected,
    differences,
    hasty,
    snapshot,
    wrong_effects,
)
from tests.support.oracle import CANCELLED, DELETED, PENDING, REJECTED, WAITING, Order, World
from tests.support.verbs import DAY, HIGH, HOUR, MINUTE, MS, NOW, OpenApp, scan, send, sweep

pytestmark = pytest.mark.usefixtures("frozen")


def world_of(order: Order, **options: object) -> World:
    """Return a world with one order, and the product `tea` with a stock of 5."""
    world = World(**options)  # type: ignore[arg-type]
    world.sell("tea", 5)
    world.sell("advice", None)
    world.place(order)
    return world


def test_an_order_is_cancelled_at_exactly_its_limit() -> None:
    """The exact limit counts; a millisecond less does not."""
    tea = frozenset({("tea", 2), ("advice", 1)})
    world = world_of(Order("o", NOW, lines=tea, buyer="0812-1", deposit=50))
    world.swept(NOW + 30 * MINUTE - MS)
    (state,) = world.states["o"]
    assert (PENDING, ()) == (state.order.status, state.ends)

    world.swept(NOW + 30 * MINUTE)
    (state,) = world.states["o"]
    seen = world.seen(state)
    assert (CANCELLED, frozenset({("tea", 2)}), None) == (seen.status, seen.released, seen.refund)
    assert (("ORDER_CANCELLED", "8121", False),) == seen.notices
    assert (("ORDER_EXPIRE_DP", 1),) == seen.done
    assert {7} == world.stocks("tea", 2)


def test_an_order_with_a_proof_is_never_cancelled() -> None:
    """L3: money may be in."""
    world = world_of(Order("o", NOW, has_proof=True))

    world.swept(NOW + DAY)

    assert {PENDING} == {state.order.status for state in world.states["o"]}


def test_a_rejected_order_owes_its_deposit_and_tells_two_people() -> None:
    """The buyer, who wants no messages, and the jastiper, who is not asked."""
    order = Order("o", NOW, deposit=50, buyer="+62 812", jastiper="0813", wants_notices=False)
    world = world_of(order, taken_at="payment")
    world.pay("o", NOW + HOUR)
    world.swept(NOW + 25 * HOUR - MS)
    assert {WAITING} == {state.order.status for state in world.states["o"]}

    world.swept(NOW + 25 * HOUR)

    (state,) = world.states["o"]
    assert (REJECTED, 50) == (state.order.status, state.refund)
    assert (("ORDER_MISSED", "813", False), ("ORDER_REJECTED", "812", True)) == world.seen(
        state
    ).notices


@pytest.mark.parametrize(
    ("taken_at", "of_unpaid", "of_unanswered"),
    [
        ("checkout", True, True),
        ("payment", False, True),
        ("acceptance", False, False),
        ("never", False, False),
    ],
)
def test_only_stock_that_was_taken_is_given_back(
    taken_at: str, *, of_unpaid: bool, of_unanswered: bool
) -> None:
    """The table of the platform's facts, section 4."""
    tea = frozenset({("tea", 2)})
    unpaid = world_of(Order("o", NOW, lines=tea), taken_at=taken_at)
    unanswered = world_of(Order("o", NOW, WAITING, NOW, lines=tea), taken_at=taken_at)
    for world in (unpaid, unanswered):
        world.swept(NOW + DAY)

    given = [bool(state.released) for world in (unpaid, unanswered) for state in world.states["o"]]
    assert [of_unpaid, of_unanswered] == given


def test_an_answered_order_that_was_sent_back_waits_for_ever() -> None:
    """Its 24 hours are over, through nobody's fault."""
    world = world_of(Order("o", NOW))
    world.pay("o", NOW)
    world.accept("o", NOW + HOUR)
    world.send_back("o", NOW + 2 * HOUR)

    world.swept(NOW + 10 * DAY)

    assert {WAITING} == {state.order.status for state in world.states["o"]}


def test_beside_a_running_service_a_late_payment_has_two_ends() -> None:
    """The pass came before it, or after; what the platform saw decides between them."""
    world = world_of(Order("o", NOW, lines=frozenset({("tea", 2)})), running=True)
    world.pay("o", NOW + HOUR)
    assert {(), (CANCELLED,)} == {state.ends for state in world.states["o"]}

    world.act("o", NOW + HOUR, was=WAITING)
    world.swept(NOW + 2 * HOUR)
    assert {(), (CANCELLED,)} == {state.ends for state in world.states["o"]}
    world.delete("o", NOW + 2 * HOUR, was=WAITING)
    assert {DELETED} == {state.order.status for state in world.states["o"]}


def test_a_pass_that_may_have_been_cut_off_leaves_two_states() -> None:
    """Handled, or not; a whole pass afterwards leaves one."""
    world = world_of(Order("o", NOW))
    world.maybe_swept(NOW + HOUR)
    assert {PENDING, CANCELLED} == {state.order.status for state in world.states["o"]}

    world.swept(NOW + HOUR)

    assert {CANCELLED} == {state.order.status for state in world.states["o"]}


def test_a_message_gives_back_the_stock_of_an_ended_order_once() -> None:
    """Whoever ended it, and however many messages ask."""
    world = world_of(Order("o", NOW, CANCELLED, lines=frozenset({("tea", 2)})))
    world.ask_release("o")
    world.ask_release("o")
    world.ask_restock("tea", 3)
    assert {5, 8} == world.stocks("tea", 0)

    world.swept(NOW)

    assert [frozenset({("tea", 2)})] == [state.released for state in world.states["o"]]
    assert {10} == world.stocks("tea", 2)


def add_orders(shop: Shop) -> tuple[str, str]:
    """Add orders of every kind; return the ids of one that is unpaid and one that is paid."""
    tea, cake = shop.product(stock=5), shop.product(stock=0)
    shop.product(stock=None), shop.product(unlimited=True)
    late = {"age": HOUR, "guest": shop.guest(notify_whatsapp=False)}
    shop.order(items=[(tea, 1)], **late)  # type: ignore[arg-type]
    shop.order(product=cake, quantity=2, trip=None, **late)  # type: ignore[arg-type]
    shop.order(status=WAITING, age=DAY, paid_ago=DAY, guest=None, items=[(tea, 1), (tea, 2)])
    shop.order(status=WAITING, age=DAY, paid_ago=HOUR)
    shop.order(age=HOUR, dp_proof_url="proof")
    unpaid = shop.order(age=MINUTE, items=[(tea, 3)])
    return unpaid, shop.order(status=WAITING, age=2 * DAY, paid_ago=DAY, items=[(cake, 1)])


@pytest.mark.parametrize("taken_at", ["checkout", "payment", "acceptance", "never"])
def test_a_sweep_leaves_what_the_oracle_expects(
    open_app: OpenApp, shop: Shop, connection: Connection, taken_at: str
) -> None:
    """L1, L3: with every setting of the stock."""
    app = open_app(stock__taken_at=taken_at)
    unpaid, _ = add_orders(shop)
    world = snapshot(connection, taken_at=taken_at)
    connection.exec_driver_sql(f"update \"Order\" set status = 'cancelled' where id = '{unpaid}'")
    world.act(unpaid, NOW, status=CANCELLED)
    product = next(iter(world.limited))
    for payload in ({"orderId": unpaid}, {"productId": product, "quantity": 4}):
        send(app, "STOCK_RELEASE", payload | {"shouldRefund": True}, queue=HIGH)
    world.ask_release(unpaid)
    world.ask_restock(product, 4)

    scan(app)
    assert [] == wrong_effects(connection, world, NOW)
    sweep(app)

    assert [] == wrong_effects(connection, world, NOW)
    assert_as_expected(app, connection, world, NOW)
    assert [] == hasty(connection, world)


CANCEL = """update "Order" set status = 'cancelled', "updatedAt" = '2026-01-31T12:00',
            "rejectionReason" = 'Pesanan dibatalkan otomatis' where id = """
SECOND_NOTICE = """
    insert into "NotificationLog" select (jsonb_populate_record(n, '{"id": "x"}')).*
      from "NotificationLog" n where "eventType" = 'ORDER_MISSED' limit 1
"""
SECOND_ENDING = """
    insert into sweeper.job_log (job_type, key, msg_id, outcome, attempt, at)
    select job_type, key, msg_id, outcome, attempt, at from sweeper.job_log
"""
# By name: what is wrong, and what the oracle says of it.
EFFECTS = {
    "a fresh order cancelled": (CANCEL + ":unpaid", "status is cancelled, not pending_dp"),
    "a paid order cancelled": (CANCEL + ":paid", "status is cancelled, not rejected"),
    "an ended order deleted": ('delete from "Order" where id = :paid', "status is deleted"),
    "an ended order brought back": (
        "update \"Order\" set status = 'awaiting_validation' where id = :paid",
        "status is awaiting_validation, not rejected",
    ),
    "stock given back twice": (
        'update "Product" set stock = stock + 1 where stock > 0',
        "stock is",
    ),
    "stock of a fresh order": (
        'insert into sweeper.stock_release select :unpaid, id, 1, now() from "Product" limit 1',
        "released is",
    ),
    "too many pieces given back": ("update sweeper.stock_release set quantity = 9", "released is"),
    "a release that is missing": ("delete from sweeper.stock_release", "released is"),
    "a refund of another amount": ("update sweeper.refund set amount = 1", "refund is 1, not 5"),
    "a refund that is missing": ("delete from sweeper.refund", "refund is None, not 5"),
    "a refund of a fresh order": (
        "insert into sweeper.refund select :unpaid, null, 5, null, null, 'due', now()",
        "refund is 5, not None",
    ),
    "a notice twice": (SECOND_NOTICE, "notices is"),
    "a notice that is missing": (
        'delete from "NotificationLog" where "eventType" = \'ORDER_MISSED\'',
        "notices is",
    ),
    "a notice to somebody else": (
        'update "NotificationLog" set "recipientId" = \'0899\'',
        "notices is",
    ),
    "a job done twice": (SECOND_ENDING, "done is"),
    "a refund of an unknown order": (
        "update sweeper.refund set order_id = 'x' where order_id = :paid",
        "order x: was never placed",
    ),
}


@pytest.mark.parametrize(("planted", "told"), EFFECTS.values(), ids=EFFECTS)
def test_wrong_effects_are_told(
    app: App, shop: Shop, connection: Connection, planted: str, told: str
) -> None:
    """Each is planted by SQL, after a sweep in which all was right."""
    unpaid, paid = add_orders(shop)
    world = snapshot(connection)
    sweep(app)
    world.swept(NOW)
    assert [] == differences(connection, world)

    for name, order in (("unpaid", unpaid), ("paid", paid)):
        planted = planted.replace(f":{name}", f"'{order}'")
    connection.exec_driver_sql(planted)

    for faults in (differences(connection, world), wrong_effects(connection, world, NOW)):
        assert any(told in fault for fault in faults), faults


def test_an_order_that_was_ended_too_early_says_so_itself(
    app: App, shop: Shop, connection: Connection
) -> None:
    """Its own row is enough, without any history."""
    unpaid, _ = add_orders(shop)
    world = snapshot(connection)
    sweep(app)
    assert [] == hasty(connection, world)

    connection.exec_driver_sql(f"{CANCEL}'{unpaid}'")

    (told,) = hasty(connection, world)
    assert f"order {unpaid}: cancelled" in told


def test_a_notice_that_was_not_sent_is_a_difference(
    app: App, shop: Shop, connection: Connection
) -> None:
    """At rest, not in the middle of a pass."""
    add_orders(shop)
    world = snapshot(connection)
    sweep(app)
    world.swept(NOW)

    connection.exec_driver_sql(
        "update \"NotificationLog\" set status = 'queued' where status = 'sent'"
    )

    assert {"queued"} == {told.split()[-1] for told in differences(connection, world)}
    assert [] == wrong_effects(connection, world, NOW)
