"""Judge a database by the oracle: read a world from its tables, and say where the two differ."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sqlalchemy import Connection, text

from sweeper.app import App
from sweeper.queue.inspect import Depth
from tests.support.oracle import (
    CANCELLED,
    DELETED,
    REJECTED,
    Order,
    Seen,
    State,
    World,
    digits,
)

Tables: TypeAlias = Mapping[str, list[dict[str, Any]]]

# One statement, so that it is one moment of a database in which others write.
TABLES = {
    "orders": """
        select o.*, b.phone as buyer, coalesce(g."notifyWhatsapp", true) as wants_notices,
               (select u."whatsappNumber" from "Trip" t join "User" u on u.id = t."jastiperId"
                 where t.id = coalesce(o."tripId", p."tripId", b."tripId")) as jastiper
          from "Order" o
          join "Participant" b on b.id = o."participantId"
          left join "Guest" g on g.id = o."guestId"
          left join "Product" p on p.id = o."productId"
    """,
    "items": 'select "orderId", "productId", quantity from "OrderItem"',
    "products": 'select id, stock, type, "isUnlimitedStock" from "Product"',
    "releases": "select * from sweeper.stock_release",
    "refunds": "select * from sweeper.refund",
    "notices": """
        select metadata ->> 'orderId' as "orderId", "eventType", "recipientId", status
          from "NotificationLog" where metadata ? 'orderId' and not metadata ? 'message'
    """,
    "done": """
        select key, job_type, count(*) as times from sweeper.job_log
         where outcome = 'done'
           and job_type not in ('STOCK_RELEASE', 'NOTIFICATION_SEND_WHATSAPP')
         group by key, job_type
    """,
}
READ = text(
    "select json_build_object({})".format(
        ", ".join(
            f"'{name}', (select coalesce(json_agg(r), '[]') from ({rows}) r)"
            for name, rows in TABLES.items()
        )
    ).replace(":", r"\:")
)
OURS = ("Pesanan dibatalkan otomatis", "Pesanan ditolak otomatis")
NEVER = datetime.min.replace(tzinfo=UTC)
GONE = World().seen(State(Order("", NEVER, DELETED)))


def snapshot(connection: Connection, **options: Any) -> World:
    """Return the world that the platform's tables hold, before any pass.

    options -- what the world is told of settings: taken_at, running, unpaid_after, habits, ...
    """
    tables, world = _read(connection), World(**options)
    for row in tables["products"]:
        counted = row["type"] == "goods" and not row["isUnlimitedStock"]
        world.sell(row["id"], row["stock"], limited=counted)
    for order in _orders(tables):
        world.place(order)
    return world


def learn(connection: Connection, world: World) -> None:
    """Place the orders that the platform has added since; no pass may have come meanwhile."""
    for order in _orders(_read(connection)):
        if order.id not in world.states:
            world.place(order)


def differences(connection: Connection, world: World) -> list[str]:
    """Return where a database at rest is not what the world's history leads to."""
    tables = _read(connection)
    unsent = [
        f"order {row['orderId']}: notice {row['eventType']} is {row['status']}"
        for row in tables["notices"]
        if row["status"] not in ("sent", "suppressed")
    ]
    return [*_faults(tables, world, lambda states: states), *unsent]


def wrong_effects(connection: Connection, world: World, now: datetime) -> list[str]:
    """Return what is wrong at any moment, also in the middle of a pass.

    Whatever was due until *now* may have been handled or not, but nothing else, nothing in part
    and nothing twice. The world must have been told of all that people did.
    """
    return _faults(_read(connection), world, lambda states: world.may(states, now))


def hasty(connection: Connection, world: World) -> list[str]:
    """Return the orders that passes ended before they were due, by their own rows alone.

    It needs no history, but people must not have changed an order after its end.
    """
    ended = [row for row in _read(connection)["orders"] if _is_ours(row)]
    return [
        f"order {row['id']}: {row['status']} at {row['updatedAt']}, and was not due"
        for row in ended
        if not _was_due(row, world)
    ]


def attempts_spent(connection: Connection) -> list[str]:
    """Return the jobs that ended, or died, after they had failed; malformed messages are none."""
    log = text(
        "select job_type, key, outcome, attempt from sweeper.job_log"
        " where key is not null and (attempt > 1 or outcome = 'dead') order by id"
    )
    return [" ".join(map(str, row)) for row in connection.execute(log)]


def assert_as_expected(app: App, connection: Connection, world: World, now: datetime) -> None:
    """Check a database after its last pass: by the oracle and the audit, and that no job waits."""
    world.swept(now)
    balance, queues = app.auditor.audit(), app.status_reader.read().queues
    faults = [
        *differences(connection, world),
        *map(str, (*balance.gaps, *balance.foreign)),
        *(f"queue {name}: {depth}" for name, depth in queues.items() if _waiting(depth)),
    ]
    assert not faults, "\n".join(faults)


def _waiting(depth: Depth) -> int:
    return depth.ready + depth.in_flight + depth.delayed


def _faults(
    tables: Tables, world: World, possible: Callable[[frozenset[State]], Iterable[State]]
) -> list[str]:
    """Return every order, product and effect that is not as one of the *possible* states."""
    found, faults = _seen(tables), list[str]()
    for order_id, states in world.states.items():
        right = {world.seen(state) for state in possible(states)}
        if found.get(order_id, GONE) not in right:
            faults.append(f"order {order_id}: {_unlike(found.get(order_id, GONE), right)}")
    faults += [f"order {each}: was never placed" for each in found.keys() - world.states.keys()]
    released = Counter[str]()
    for row in tables["releases"]:
        released[row["product_id"]] += row["quantity"]
    for row in tables["products"]:
        sums = world.stocks(row["id"], released[row["id"]])
        if row["stock"] not in sums:
            faults.append(f"product {row['id']}: stock is {row['stock']}, not {sums}")
    return faults


def _unlike(found: Seen, right: Iterable[Seen]) -> str:
    """Return the fields in which an order differs from the state that is most like it."""
    differing = [
        [
            f"{each.name} is {getattr(found, each.name)}, not {getattr(other, each.name)}"
            for each in fields(Seen)
            if getattr(found, each.name) != getattr(other, each.name)
        ]
        for other in right
    ]
    nearest = min(differing, key=len)
    return "; ".join(nearest)


def _seen(tables: Tables) -> dict[str, Seen]:
    """Return what the tables show of each order that any of them speaks of."""
    effects = defaultdict[str, dict[str, list[Any]]](lambda: defaultdict(list))
    for row in tables["releases"]:
        effects[row["order_id"]]["released"].append((row["product_id"], row["quantity"]))
    for row in tables["refunds"]:
        effects[row["order_id"]]["refund"].append(row["amount"])
    for row in tables["notices"]:
        notice = (row["eventType"], digits(row["recipientId"]), row["status"] == "suppressed")
        effects[row["orderId"]]["notices"].append(notice)
    for row in tables["done"]:
        effects[row["key"]]["done"].append((row["job_type"], row["times"]))
    orders = {order.id: order for order in _orders(tables)}
    return {
        order_id: replace(
            World().seen(State(orders.get(order_id, Order(order_id, NEVER, DELETED)))),
            released=frozenset(effects[order_id]["released"]),
            refund=next(iter(effects[order_id]["refund"]), None),
            notices=tuple(sorted(effects[order_id]["notices"])),
            done=tuple(sorted(effects[order_id]["done"])),
        )
        for order_id in orders.keys() | effects.keys()
    }


def _orders(tables: Tables) -> Iterator[Order]:
    """Yield the orders as the oracle knows them."""
    items = defaultdict[str, Counter[str]](Counter)
    for row in tables["items"]:
        items[row["orderId"]][row["productId"]] += row["quantity"]
    for row in tables["orders"]:
        own = {row["productId"]: row["quantity"]} if row["productId"] else {}
        yield Order(
            row["id"],
            _time(row["createdAt"]),
            row["status"],
            row["dpPaidAt"] and _time(row["dpPaidAt"]),
            has_proof=bool(row["dpProofUrl"] or row["dpPaymentId"]),
            answered_at=row["validatedAt"] and _time(row["validatedAt"]),
            has_breakdown=row["finalBreakdown"] is not None,
            deposit=row["dpAmount"],
            lines=frozenset((items.get(row["id"]) or own).items()),
            buyer=row["buyer"],
            jastiper=row["jastiper"] or "",
            wants_notices=row["wants_notices"],
        )


def _is_ours(row: Mapping[str, Any]) -> bool:
    return str(row["rejectionReason"]).startswith(OURS)


def _was_due(row: Mapping[str, Any], world: World) -> bool:
    """Return whether an order was due when its row was last written, by its other columns."""
    at = _time(row["updatedAt"])
    if row["status"] == CANCELLED:
        paid = row["dpPaidAt"] or row["dpProofUrl"] or row["dpPaymentId"]
        return not paid and at - _time(row["createdAt"]) >= world.unpaid_after
    paid_at = row["dpPaidAt"] and _time(row["dpPaidAt"])
    was_due = paid_at is not None and at - paid_at >= world.unanswered_after
    return bool(row["status"] == REJECTED and was_due and row["validatedAt"] is None)


def _read(connection: Connection) -> Tables:
    tables: Tables = connection.execute(READ).scalar_one()
    return tables


def _time(stored: str) -> datetime:
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)
