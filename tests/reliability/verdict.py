"""What a phase has cost: wrong effects, lost orders, attempts and crashes, from the database."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from sqlalchemy import Connection, create_engine

from jobs.send_whatsapp import NO_REPLY
from sweeper import catalog
from sweeper.app import App
from sweeper.postgres.url import parse_url
from tests.reliability.load import PLACED_AS
from tests.reliability.site import Site
from tests.support.judgement import differences, snapshot
from tests.support.oracle import World

# Each query names the orders of which something was lost.
_LOST = {
    "a due order is neither cancelled nor rejected": """
        select id from "Order" where id ~ '^[ua]' and status not in ('cancelled', 'rejected')
    """,
    "a message is dead": "select message ->> 'key' from pgmq.q_jastipin_jobs_dead",
}
_NOT_SENT = """
    select metadata ->> 'orderId', metadata ->> 'orderCode', "errorMessage" from "NotificationLog"
    where status <> 'sent'
"""
_DUE = """select count(*) from "Order" where id ~ '^[ua]'"""
_WAITING = " + ".join(
    f"(select count(*) from pgmq.q_jastipin_jobs{queue})"
    for queue in ("", "_high", "_low", "_outbound")
)
_SPENT = "select coalesce(sum(attempts), 0), coalesce(sum(crashes), 0) from watched.spent"
_UNSURE = """
    select metadata ->> 'orderCode' from "NotificationLog" where metadata ->> 'unknown' is not null
"""
_SHOWN = 5


@dataclass(slots=True)
class Verdict:
    """What was found at the end; *problems* say in words what was wrong or lost.

    due      -- orders that had to be ended
    wrong    -- what the oracle, the audit or the provider found that is not as it must be
    lost     -- orders and messages that were not handled
    attempts -- executions that were counted as failures of jobs
    crashes  -- reads that were counted as crashes
    unsure   -- notices of which it is not known whether they were sent, so that they may come twice
    given_up -- those of them that came, and are left to a person: no second reply came either
    """

    due: int = 0
    wrong: int = 0
    lost: int = 0
    attempts: int = 0
    crashes: int = 0
    unsure: int = 0
    given_up: int = 0
    problems: list[str] = field(default_factory=list)


def judge(site: Site) -> Verdict:
    """Compare the database, the ledger and what the provider got with what must be."""
    verdict, lost = Verdict(), set[str]()
    sent = Counter(str(each.body) for each in site.provider.deliveries)
    with site.survivor.session() as session:
        (verdict.due,) = _row(session, _DUE)
        verdict.attempts, verdict.crashes = _row(session, _SPENT)
        found = {
            problem: [str(key) for (key,) in session.execute(query.encode())]
            for problem, query in _LOST.items()
        }
        not_sent = list(session.execute(_NOT_SENT.encode()))
        unsure = {code for (code,) in session.execute(_UNSURE)}
    left_to_a_person = given_up(not_sent, sent)
    found["a notice was not sent"] = [key for key, *_ in not_sent if key not in left_to_a_person]
    for problem, keys in found.items():
        verdict.lost += len(keys)
        lost.update(keys)
        verdict.problems += [f"{problem}: {len(keys)}, such as {keys[:_SHOWN]}"] * bool(keys)
    verdict.unsure, verdict.given_up = len(unsure), len(left_to_a_person)
    about_lost = tuple(f"order {key}:" for key in lost)
    wrong = [each for each in _differences(site) if not each.startswith(about_lost)]
    wrong += _too_many(sent, unsure) + _gaps(site)
    verdict.wrong = len(wrong)
    verdict.problems += wrong[:_SHOWN]
    return verdict


def left(site: Site) -> int:
    """Return how much is left to do: the due orders, and the messages in all queues."""
    due = _LOST["a due order is neither cancelled nor rejected"]
    with site.survivor.session() as session:
        (count,) = _row(session, f"select {_WAITING} + (select count(*) from ({due}) as due)")
    return int(count)


def _differences(site: Site) -> list[str]:
    """Ask the oracle: the orders as they were placed, and one pass over all of them."""
    engine = create_engine(parse_url(site.survivor.url)[0])
    with engine.connect() as connection:
        world = _placed(connection)
        world.swept(datetime.now(UTC))
        found = differences(connection, world)
    engine.dispose()
    return found


def _placed(connection: Connection) -> World:
    """Return the world as the load made it."""
    found, world = snapshot(connection), World()
    for product in found.stock:
        world.sell(product, 0)
    for states in found.states.values():
        for state in states:
            world.place(replace(state.order, status=PLACED_AS[state.order.id[0]]))
    return world


def given_up(not_sent: Iterable[Sequence[str]], sent: Iterable[str]) -> list[str]:
    """Return the orders whose notice the provider has got, though no reply came.

    not_sent -- an order's id and code, and the error of its notice
    sent     -- the bodies that the provider accepted
    """
    bodies = list(sent)
    return [
        key
        for key, code, error in not_sent
        if error == NO_REPLY and any(f"'{code}'" in body for body in bodies)
    ]


def _too_many(sent: Mapping[str, int], unsure: set[str]) -> list[str]:
    """Return the notices that were sent twice, though every call was answered, or three times."""
    return [
        f"a notice was sent {count} times: {body}"
        for body, count in sent.items()
        if count > 1 + any(f"'{code}'" in body for code in unsure)
    ]


def _gaps(site: Site) -> list[str]:
    """Return what `sweeper audit` finds."""
    app = App.load(catalog.load("jobs"), flags={"database.url": site.survivor.url})
    try:
        return [f"the audit: {gap}" for gap in app.auditor.audit().gaps]
    finally:
        app.close()


def _row(session: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row = session.execute(query.encode()).fetchone()
    assert row is not None
    return tuple(row)
