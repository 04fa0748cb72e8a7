"""The world of the machine: the platform and strangers on one database, and this host's clock."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from jobs.demo.shop import Shop
from sweeper import catalog
from sweeper.postgres.database import Database
from tests.stateful.gate import Monitor
from tests.stateful.past import HostClock, Past
from tests.stateful.process import Held, Process
from tests.stateful.snapshot import Snapshot, weight
from tests.support import judgement
from tests.support.fake_provider import Behaviour, Provider
from tests.support.oracle import WAITING
from tests.support.verbs import DEAD, HIGH, LOW, NOW, OUTBOUND, QUEUE

LIVE = (HIGH, QUEUE, LOW, OUTBOUND)
_TROUBLE = """
    create schema machine;
    create table machine.broken (id text primary key);
    create function machine.refuse() returns trigger language plpgsql as $$ begin
        if current_setting('application_name') = 'sweeper'
            and exists (select from machine.broken where id = new.id)
        then
            raise exception 'out of order';
        end if;
        return new;
    end $$;
    create trigger refuse before update on "Order" for each row execute function machine.refuse()
"""
_TABLES = (
    '"Order", "OrderItem", "Product", "Participant", "Guest", "Trip", "User", "NotificationLog",'
    " sweeper.sweep, sweeper.job_log, sweeper.stock_release, sweeper.refund, sweeper.lock,"
    " machine.broken, " + ", ".join(f"pgmq.q_{queue}" for queue in (*LIVE, DEAD))
)


class World:
    """One database, emptied for each example, and what everybody but the sweeper does to it."""

    def __init__(self, url: str, provider: Provider) -> None:
        self.provider = provider
        self.past = Past()
        self._url = url
        self._catalog = catalog.load("jobs")
        self._spare = list[Database]()
        self._session = psycopg.connect(url, autocommit=True, application_name="monitor")
        self._session.execute("set deadlock_timeout = '10ms'")
        name = make_url(url).database
        self._session.execute(f"alter database \"{name}\" set deadlock_timeout = '10ms'")
        self._session.execute(_TROUBLE)
        self.monitor = Monitor(self._session)
        engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"options": "-c lock_timeout=20ms", "application_name": "platform"},
        )
        self._platform: Connection = engine.connect()
        self.shop = Shop(self._platform, NOW)

    def begin(self) -> None:
        """Empty the database, and set clock and provider back."""
        self._session.execute(f"truncate {_TABLES} restart identity cascade")
        HostClock.at = NOW
        self.past = Past()
        self.provider.behaviour = Behaviour.OK
        self.provider.deliveries.clear()
        self.shop = Shop(self._platform, NOW)
        self.shop.product(stock=100)
        self.shop.product(stock=100)
        self.shop.product(stock=100, unlimited=True)
        self.shop.product(stock=None)
        self.past.oracle = judgement.snapshot(self._platform, running=True)

    def close(self) -> None:
        """Close the sessions."""
        self._platform.close()
        self._session.close()

    def process(self, **settings: Any) -> Process:
        """Start a process of the service."""
        usual = {
            "database.url": self._url,
            "database.direct_url": self._url,
            "database.connect_timeout": "60s",
            "safety.max_clock_skew": "36500d",
            "stock.taken_at": "checkout",
            "whatsapp.concurrency": 1,
            "whatsapp.rate": 1e6,
            "retry.crash_limit": 3,
        }
        whatsapp = {n.replace("__", "."): v for n, v in self.provider.settings().items()}
        spare = self._spare.pop() if self._spare else None
        return Process(self._catalog, self.monitor, usual | whatsapp | settings, spare)

    def kill(self, process: Process) -> None:
        """Kill a process of the service."""
        process.kill()
        self._spare.append(process.app.database)

    def snapshot(self) -> Snapshot:
        """Return everything that is committed, at one moment."""
        return Snapshot.of(self._session)

    def wrong_effects(self) -> list[str]:
        """Return what the oracle says is wrong at this moment."""
        return judgement.wrong_effects(self._platform, self.past.oracle, HostClock.at)

    def differences(self) -> list[str]:
        """Return what the oracle says is wrong at rest."""
        self.past.oracle.swept(HostClock.at)
        return judgement.differences(self._platform, self.past.oracle)

    # What the platform does.

    def place(self, status: str, age: timedelta, lines: Sequence[tuple[int, int]]) -> None:
        """Place an order, the last step of which was *age* ago.

        lines -- pairs of a product's number, and a quantity; a single one for the older route,
                 where the order itself names its product
        """
        products = sorted(self.past.oracle.stock)
        items = [(products[number], quantity) for number, quantity in lines]
        for product, quantity in items:
            taken = 'update "Product" set stock = stock - :n where id = :id and stock is not null'
            if not self.change(taken, n=quantity, id=product):
                return
            if self.past.oracle.stock[product] is not None:
                self.past.oracle.change_stock(product, -quantity)
        columns: dict[str, Any] = {"items": items}
        if len(items) == 1:
            columns = {"product": items[0][0], "quantity": items[0][1]}
        self.shop.now = HostClock.at
        buyer = self.shop.participant()
        paid_ago = age if status == WAITING else None
        self.past.orders.append(
            self.shop.order(status=status, age=age, paid_ago=paid_ago, participant=buyer, **columns)
        )
        judgement.learn(self._platform, self.past.oracle)

    def act(self, order: str, **columns: Any) -> None:
        """Change an order by its id, without asking its status; *columns* as the oracle's."""
        status = self._platform.execute(
            text('select status from "Order" where id = :id'), {"id": order}
        ).scalar()
        names = ", ".join(f"{_COLUMNS[name]} = :{name}" for name in columns)
        values = {
            name: value.replace(tzinfo=None) if isinstance(value, datetime) else value
            for name, value in columns.items()
        }
        if "has_breakdown" in values:
            values["has_breakdown"] = "{}" if values["has_breakdown"] else None
        if status and self.change(f'update "Order" set {names} where id = :id', **values, id=order):
            self.past.oracle.act(order, HostClock.at, was=status, **columns)

    def delete(self, order: str) -> None:
        """Delete an order."""
        if self.change('delete from "Order" where id = :id', id=order):
            self.past.oracle.delete(order, HostClock.at)

    def change(self, statement: str, **values: Any) -> bool:
        """Execute a statement of the platform; return whether no lock was in its way."""
        try:
            self._platform.execute(text(statement), values)
        except OperationalError:
            return False
        return True

    def breaks(self, order: str, *, broken: bool) -> None:
        """Have the database refuse the sweeper's changes of an order, or no more."""
        if broken:
            self._session.execute(
                "insert into machine.broken values (%s) on conflict do nothing", [order]
            )
            self.past.broken.add(order)
        else:
            self._session.execute("delete from machine.broken where id = %s", [order])

    def move_on(self, by: timedelta, held: set[Held]) -> None:
        """Move this host's clock forward; the database's delays, and leases, run out likewise.

        held -- the reads that workers believe to hold
        """
        HostClock.at += by
        self.past.expired |= held
        for queue in (*LIVE, DEAD):
            self._session.execute(f"update pgmq.q_{queue} set vt = vt - %s", [by])

    def send(self, queue: str, raw: str | None) -> None:
        """Send a message as a stranger does: any JSON text, or SQL NULL for None."""
        send = "select pgmq.send(%s::text, %s::text::jsonb)"
        self._session.execute(send, [queue, raw])
        if queue == DEAD:
            self.past.letters += 1
        else:
            body = None if raw is None else json.loads(raw)
            self.past.sent += weight(body)
            self._tell(body)

    def send_job(self, queue: str, kind: str, payload: Any, **more: Any) -> None:
        """Send a job as the platform does."""
        created = f"{HostClock.at:%Y-%m-%dT%H:%M:%S.000Z}"
        body = {"type": kind, "payload": payload, "retryCount": 0, "createdAt": created}
        self.send(queue, json.dumps(body | more))

    def copy(self, message: Mapping[str, Any], queue: str) -> None:
        """Send a copy of a message."""
        body = message["message"]
        send = "select pgmq.send(%s::text, %s::jsonb)"
        self._session.execute(send, [queue, None if body is None else Jsonb(body)])
        self.past.sent += weight(body)
        self._tell(body)
        if isinstance(body, dict) and "sweepId" in body and isinstance(body.get("payload"), dict):
            self.past.copies[body["type"], str(body["payload"].get("orderId"))] += 1

    def heal(self) -> None:
        """Let everything work again."""
        self.provider.behaviour = Behaviour.OK
        self._session.execute("delete from machine.broken")

    def _tell(self, body: Any) -> None:
        """Tell the oracle of a message that asks for stock."""
        match body:
            case {"type": "STOCK_RELEASE", "payload": {"orderId": str(order), **rest}}:
                if rest.get("shouldRefund") is True and order in self.past.oracle.states:
                    self.past.oracle.ask_release(order)
            case {"type": "STOCK_RELEASE", "payload": {"productId": product, "quantity": pieces}}:
                self.past.oracle.ask_restock(product, pieces)


_COLUMNS = {
    "status": "status",
    "paid_at": '"dpPaidAt"',
    "answered_at": '"validatedAt"',
    "has_breakdown": '"finalBreakdown"',
}
