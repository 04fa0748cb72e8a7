"""Customers of the demo: an order of theirs falls due every few seconds, while the service runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread

from jobs.demo.sample_orders import DAY, MINUTE
from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.postgres import clock

EVERY = timedelta(seconds=5)
_SOON = timedelta(seconds=3)
_REJECTED = 3  # every third order has its down payment, and no answer


@contextmanager
def ordering(app: App) -> Iterator[None]:
    """Let an order fall due, of one rule or the other, every few seconds until the end."""
    over = Event()
    thread = Thread(target=_order, args=(app, over), name="customers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _order(app: App, over: Event) -> None:
    number = 0
    while not over.wait(EVERY.total_seconds()):
        number += 1
        with app.database.transaction(schema_in_path=True) as tx:
            shop = Shop(tx, clock.now(), seed=number)
            if number % _REJECTED:
                shop.order(age=30 * MINUTE - _SOON)
            else:
                paid_ago = DAY - _SOON
                shop.order(status="awaiting_validation", age=paid_ago + MINUTE, paid_ago=paid_ago)
