"""The platform under a steady load: new orders that are due at once, and some that never will be.

An order's id says what must become of it: u is unpaid and a unanswered for too long; y is young,
p was paid just now and x was accepted, and nobody may touch these.
"""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import psycopg
from sqlalchemy import create_engine

from jobs.demo.shop import Shop
from sweeper.postgres.url import parse_url

PLACED_AS = {
    "u": "pending_dp",
    "a": "awaiting_validation",
    "y": "pending_dp",
    "p": "awaiting_validation",
    "x": "awaiting_final_payment",
}
_TICK = 0.1
_PRODUCTS = 5

# One tick: due orders, and one bystander; each order is for one piece of one product.
_PLACE = """
with placed as (
    insert into "Order" (id, "orderCode", "participantId", "guestId", "tripId", status, quantity,
                         "totalPrice", "dpAmount", "dpPaidAt", "validatedAt", "createdAt",
                         "updatedAt")
    select kind || to_char(n, 'FM00000000'), 'JST-' || n, %(participant)s, %(guest)s, %(trip)s,
           %(statuses)s::jsonb ->> kind, 1, 150000, 50000,
           case kind when 'a' then utc - interval '25 hours'
                when 'p' then utc - interval '23 hours 15 minutes'
                when 'x' then utc - interval '30 hours' end,
           case kind when 'x' then utc - interval '26 hours' end,
           utc - case kind when 'u' then interval '1 hour' when 'y' then interval '2 minutes'
                 else interval '31 hours' end,
           utc
    from unnest(%(kinds)s::text[]) with ordinality as kinds(kind, place),
         lateral (select %(first)s + place as n, clock_timestamp() at time zone 'UTC' as utc)
    returning id, "createdAt"
)
insert into "OrderItem" (id, "orderId", "productId", "productType", "priceAtOrder", quantity,
                         "itemSubtotal", "createdAt")
select 'i' || id, id, product, 'goods', 150000, 1, 150000, "createdAt"
from placed,
     lateral (select (%(products)s::text[])[1 + right(id, 8)::int %% %(many)s] as product)
"""


class Load:
    """Places orders at a steady rate, from a thread of its own, whenever the database lets it.

    What could not be placed is not caught up: a customer who met an error has gone.

    rate       -- due orders a second
    bystanders -- the kinds of orders that are placed beside them
    placed     -- the time of each tick that has committed, and how many due orders it placed
    failed     -- ticks that the database did not take
    """

    def __init__(self, url: str, rate: int, bystanders: tuple[str, ...]) -> None:
        self._url = url
        self._bystanders = bystanders
        self.rate = rate
        self._due = max(1, round(rate * _TICK))
        self._numbers = 0
        self._over = Event()
        self._thread = Thread(target=self._run, name="platform")
        self._parameters = _stock(url)
        self.placed = list[tuple[float, int]]()
        self.failed = 0

    def start(self) -> None:
        """Begin to place orders."""
        self._thread.start()

    def stop(self) -> None:
        """Place no more orders."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            with suppress(psycopg.Error):
                with psycopg.connect(self._url, autocommit=True, connect_timeout=2) as session:
                    self._place(session)
                return
            self.failed += 1
            self._over.wait(_TICK)

    def _place(self, session: psycopg.Connection[Any]) -> None:
        next_tick = time.monotonic()
        while not self._over.wait(max(0.0, next_tick - time.monotonic())):
            # Ticks that a slow database made late are left out.
            next_tick = max(next_tick + _TICK, time.monotonic())
            bystander = self._bystanders[len(self.placed) % len(self._bystanders)]
            kinds = ["a" if n % 5 == 4 else "u" for n in range(self._due)]
            kinds.append(bystander)
            first, self._numbers = self._numbers, self._numbers + len(kinds)
            session.execute(_PLACE, {**self._parameters, "first": first, "kinds": kinds})
            self.placed.append((time.time(), self._due))


def _stock(url: str) -> dict[str, Any]:
    """Add what orders refer to: a buyer, a trip and products."""
    engine = create_engine(parse_url(url)[0])
    with engine.begin() as connection:
        shop = Shop(connection, datetime.now(UTC))
        products = [shop.product(stock=0) for _ in range(_PRODUCTS)]
        parameters = {
            "participant": shop.usual_participant,
            "guest": shop.usual_guest,
            "trip": shop.usual_trip,
            "products": products,
            "many": _PRODUCTS,
            "statuses": json.dumps(PLACED_AS),
        }
    engine.dispose()
    return parameters
