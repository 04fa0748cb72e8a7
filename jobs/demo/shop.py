"""Write rows into the platform's tables: orders for the demo and for the tests."""

import itertools
from base64 import b32encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from importlib import resources
from types import EllipsisType
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, column, insert, select, table, text

MANY_ORDERS = text("""
    INSERT INTO "Order" (id, "orderCode", "participantId", "guestId", "tripId", status, quantity,
                         "totalPrice", "dpAmount", "dpPaidAt", "createdAt", "updatedAt")
    SELECT :prefix || to_char(n, 'FM00000000'), :code || n, :participant, :guest, :trip, :status, 1,
           150000, 50000, :paid_at, :created_at, :updated_at
    FROM generate_series(1, :count) AS n
""")

MANY_ITEMS = text("""
    INSERT INTO "OrderItem" (id, "orderId", "productId", "productType", "priceAtOrder", quantity,
                             "itemSubtotal", "createdAt")
    SELECT :item_prefix || to_char(n, 'FM00000000'), :prefix || to_char(n, 'FM00000000'),
           product.id, product.type, product.price, 1, product.price, :created_at
    FROM generate_series(1, :count) AS n, "Product" AS product
    WHERE product.id = :product
""")


def create_platform(connection: Connection) -> None:
    """Create the platform's tables, empty, in the connection's current schema."""
    script = resources.files(__package__).joinpath("platform.sql").read_text("utf-8")
    connection.exec_driver_sql(script)


class Shop:
    """Writes rows as the platform does, at one moment; the caller commits.

    Any column can be given by its name in snake_case, also `id`. An order belongs to the shop's
    usual trip, buyer and guest unless others are given.

    now  -- an aware time, from which every age is subtracted
    seed -- determines the ids; two shops on one database need two seeds
    """

    def __init__(self, connection: Connection, now: datetime, *, seed: int = 0) -> None:
        self.now = now
        self._connection = connection
        self._seed = seed
        self._count = itertools.count(1)

    @cached_property
    def usual_user(self) -> str:
        """The jastiper who owns the usual trip."""
        return self.user()

    @cached_property
    def usual_trip(self) -> str:
        """The trip of every row that is added without one."""
        return self.trip()

    @cached_property
    def usual_participant(self) -> str:
        """The buyer in the usual trip, as a participant."""
        return self.participant(phone="0812-0001-0001")

    @cached_property
    def usual_guest(self) -> str:
        """The same buyer across trips, as a guest."""
        return self.guest()

    @cached_property
    def usual_product(self) -> str:
        """The product of orders that are added in bulk."""
        return self.product()

    def user(self, *, whatsapp_number: str | None = "+6281200000001", **columns: object) -> str:
        """Add a jastiper; return the id."""
        slug = f"jastiper-{next(self._count)}-{self._seed}"
        row = {
            "email": f"{slug}@example.com",
            "password": "-",
            "slug": slug,
            "profile_name": "Rina Jastip",
            "whatsapp_number": whatsapp_number,
            "updated_at": self.now,
        }
        return self._add("User", row | columns)

    def trip(self, *, jastiper: str | None = None, **columns: object) -> str:
        """Add a trip of the usual jastiper, unless another is given; return the id."""
        row = {
            "jastiper_id": jastiper or self.usual_user,
            "slug": "tokyo",
            "title": "Tokyo",
            "payment_type": "dp",
            "updated_at": self.now,
        }
        return self._add("Trip", row | columns)

    def participant(
        self,
        *,
        phone: str | None = None,
        name: str = "Sari Wulandari",
        trip: str | None = None,
        **columns: object,
    ) -> str:
        """Add a buyer in a trip, with a new phone unless one is given; return the id."""
        row = {
            "trip_id": trip or self.usual_trip,
            "phone": phone or f"0812-0000-{next(self._count):04}",
            "name": name,
        }
        return self._add("Participant", row | columns)

    def guest(
        self,
        *,
        phone: str = "+6281200010001",
        name: str = "Sari Wulandari",
        notify_whatsapp: bool = True,
        **columns: object,
    ) -> str:
        """Add a buyer across trips; return the id."""
        row = {
            "contact_hash": self._new_id(),
            "name": name,
            "phone": phone,
            "notify_whatsapp": notify_whatsapp,
            "updated_at": self.now,
        }
        return self._add("Guest", row | columns)

    def product(
        self,
        *,
        stock: int | None = 10,
        unlimited: bool = False,
        price: int = 150_000,
        trip: str | None = None,
        **columns: object,
    ) -> str:
        """Add a product of the type goods, unless another is given; return the id."""
        row = {
            "trip_id": trip or self.usual_trip,
            "slug": "matcha",
            "title": "Matcha",
            "price": price,
            "stock": stock,
            "is_unlimited_stock": unlimited,
            "updated_at": self.now,
        }
        return self._add("Product", row | columns)

    def order(
        self,
        *,
        status: str = "pending_dp",
        age: timedelta = timedelta(0),
        paid_ago: timedelta | None = None,
        items: Sequence[tuple[str, int]] = (),
        product: str | None = None,
        quantity: int = 1,
        dp_amount: int = 50_000,
        participant: str | None = None,
        guest: str | EllipsisType | None = ...,
        trip: str | EllipsisType | None = ...,
        code: str | EllipsisType | None = ...,
        **columns: object,
    ) -> str:
        """Add an order that was created *age* ago; return the id.

        items             -- pairs of a product's id and a quantity
        product, quantity -- columns of the order itself, which the older single-product route fills
        guest, trip, code -- an ellipsis for the usual one, None for NULL
        """
        created_at = self.now - age
        paid_at = None if paid_ago is None else self.now - paid_ago
        row = {
            "order_code": self._new_code() if code is ... else code,
            "participant_id": participant or self.usual_participant,
            "guest_id": self.usual_guest if guest is ... else guest,
            "trip_id": self.usual_trip if trip is ... else trip,
            "product_id": product,
            "quantity": quantity,
            "total_price": 150_000,
            "status": status,
            "dp_amount": dp_amount,
            "dp_paid_at": paid_at,
            "created_at": created_at,
            "updated_at": paid_at or created_at,
        }
        order_id = self._add("Order", row | columns)
        for product_id, pieces in items:
            self._add_item(order_id, product_id, pieces, created_at)
        return order_id

    def many(
        self,
        count: int,
        *,
        status: str = "pending_dp",
        age: timedelta = timedelta(0),
        paid_ago: timedelta | None = None,
        product: str | None = None,
    ) -> str:
        """Add *count* orders for one piece of *product*; return the prefix of their ids."""
        created_at = _stored(self.now - age)
        paid_at = None if paid_ago is None else _stored(self.now - paid_ago)
        prefix = self._new_id()[:17]
        batch = {
            "prefix": prefix,
            "item_prefix": self._new_id()[:17],
            "code": f"JST-{prefix[1:7]}-".upper(),
            "count": count,
            "participant": self.usual_participant,
            "guest": self.usual_guest,
            "trip": self.usual_trip,
            "product": product or self.usual_product,
            "status": status,
            "paid_at": paid_at,
            "created_at": created_at,
            "updated_at": paid_at or created_at,
        }
        for statement in (MANY_ORDERS, MANY_ITEMS):
            self._connection.execute(statement, batch)
        return prefix

    def status(self, order_id: str) -> str:
        """Return the current status of an order."""
        return str(self.row("Order", order_id)["status"])

    def stock(self, product_id: str) -> int | None:
        """Return the current stock of a product; None where it is not counted."""
        stock: int | None = self.row("Product", product_id)["stock"]
        return stock

    def row(self, name: str, row_id: str) -> dict[str, Any]:
        """Return one row of the table *name*, by the platform's column names."""
        found = select(text("*")).select_from(table(name)).where(column("id") == row_id)
        return dict(self._connection.execute(found).mappings().one())

    def _add_item(self, order_id: str, product_id: str, pieces: int, at: datetime) -> None:
        product = self.row("Product", product_id)
        row = {
            "order_id": order_id,
            "product_id": product_id,
            "product_type": product["type"],
            "price_at_order": product["price"],
            "quantity": pieces,
            "item_subtotal": product["price"] * pieces,
            "created_at": at,
        }
        self._add("OrderItem", row)

    def _add(self, name: str, columns: dict[str, object]) -> str:
        stamped = {"id": self._new_id(), "created_at": self.now} | columns
        row = {_camel(key): _stored(value) for key, value in stamped.items()}
        self._connection.execute(insert(table(name, *map(column, row))).values(row))
        return str(row["id"])

    def _new_id(self) -> str:
        seed = f"{self._seed}/{next(self._count)}".encode()
        return "c" + b32encode(blake2b(seed, digest_size=15).digest()).decode().lower()

    def _new_code(self) -> str:
        letters = self._new_id()
        return f"JST-{letters[1:7]}-{letters[7:9]}".upper()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _stored(value: object) -> object:
    """Return a time as naive UTC in whole milliseconds, and a document as JSONB."""
    match value:
        case datetime():
            naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return naive.replace(microsecond=naive.microsecond // 1000 * 1000)
        case dict() | list():
            return Jsonb(value)
        case _:
            return value
