"""What a phase has cost: wrong effects, lost orders, attempts and crashes, from the database."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psycopg

from sweeper import catalog
from sweeper.app import App
from tests.reliability.site import Site

# Each query names, or counts, what must not be: an empty result is right.
_WRONG = {
    "an order that nobody may touch was ended": """
        select id, status from "Order" where id ~ '^[ypx]'
        and status <> case left(id, 1) when 'y' then 'pending_dp' when 'p'
            then 'awaiting_validation' else 'awaiting_final_payment' end
    """,
    "an order was ended in another way": """
        select id, status from "Order" where id ~ '^[ua]' and status not in
        ('pending_dp', 'awaiting_validation',
         case left(id, 1) when 'u' then 'cancelled' else 'rejected' end)
    """,
    "stock was not given back once": """
        select product.id, product.stock, count("Order".id)
        from "Product" as product
        left join "OrderItem" as item on item."productId" = product.id
        left join "Order" on "Order".id = item."orderId"
            and "Order".status in ('cancelled', 'rejected')
        group by product.id having product.stock <> count("Order".id)
    """,
    "a refund is missing, or not owed": """
        select coalesce("Order".id, order_id) from sweeper.refund
        full join (select id from "Order" where status = 'rejected') as "Order" on id = order_id
        where id is null or order_id is null
    """,
    "a job was done twice": """
        select job_type, min(key), count(*) from sweeper.job_log where outcome = 'done'
        group by job_type, case when job_type like 'ORDER_%' then key else cast(msg_id as text) end
        having count(*) > 1
    """,
    "a notice is missing, or there are two": """
        select "Order".id, "Order".status, count(log.id)
        from "Order" left join "NotificationLog" as log on log.metadata ->> 'orderId' = "Order".id
        group by 1, 2
        having count(log.id) <>
            case "Order".status when 'cancelled' then 1 when 'rejected' then 2 else 0 end
    """,
}
_LOST = {
    "a due order is neither cancelled nor rejected": """
        select id, status from "Order"
        where id ~ '^[ua]' and status not in ('cancelled', 'rejected')
    """,
    "a message is dead": "select msg_id, message from pgmq.q_jastipin_jobs_dead",
    "a notice was not sent": """
        select id, status, "errorMessage" from "NotificationLog" where status <> 'sent'
    """,
}
_DUE = """select count(*) from "Order" where id ~ '^[ua]'"""
_SPENT = "select coalesce(sum(attempts), 0), coalesce(sum(crashes), 0) from watched.spent"
_UNSURE = """
    select metadata ->> 'orderCode' from "NotificationLog" where metadata ->> 'unknown' is not null
"""
_SHOWN = 5


@dataclass(slots=True)
class Verdict:
    """What was found at the end; *problems* say in words what was wrong or lost.

    wrong    -- wrong effects: orders, stock, refunds, jobs and notices that are not as they must be
    lost     -- orders and messages that were not handled
    attempts -- executions that were counted as failures of jobs
    crashes  -- reads that were counted as crashes
    unsure   -- notices of which it is not known whether they were sent, and that were sent again
    """

    due: int = 0
    wrong: int = 0
    lost: int = 0
    attempts: int = 0
    crashes: int = 0
    unsure: int = 0
    problems: list[str] = field(default_factory=list)


def judge(site: Site) -> Verdict:
    """Compare the database, the ledger and what the provider got with what must be."""
    verdict = Verdict()
    with site.survivor.session() as session:
        (verdict.due,) = _row(session, _DUE)
        verdict.attempts, verdict.crashes = _row(session, _SPENT)
        for problem, query in _WRONG.items():
            verdict.wrong += _find(session, problem, query, verdict.problems)
        for problem, query in _LOST.items():
            verdict.lost += _find(session, problem, query, verdict.problems)
        unsure = {code for (code,) in session.execute(_UNSURE)}
    sent = Counter(str(each.body) for each in site.provider.deliveries)
    twice = [body for body, count in sent.items() if count > 1]
    verdict.unsure = len(unsure)
    surprising = [body for body in twice if not any(f"'{code}'" in body for code in unsure)]
    verdict.wrong += len(surprising)
    verdict.problems += [f"a notice was sent twice: {body}" for body in surprising[:_SHOWN]]
    app = App.load(catalog.load("jobs"), flags={"database.url": site.survivor.url})
    gaps = app.auditor.audit().gaps
    app.close()
    verdict.wrong += len(gaps)
    verdict.problems += [f"the audit: {gap}" for gap in gaps[:_SHOWN]]
    return verdict


def left(site: Site) -> int:
    """Return how much is left to do: the due orders, and the messages in all queues."""
    queues = ("jastipin_jobs", "jastipin_jobs_high", "jastipin_jobs_low", "jastipin_jobs_outbound")
    waiting = " + ".join(f"(select count(*) from pgmq.q_{queue})" for queue in queues)
    with site.survivor.session() as session:
        due = _LOST["a due order is neither cancelled nor rejected"]
        (count,) = _row(session, f"select {waiting} + (select count(*) from ({due}) as due)")
    return int(count)


def _find(session: psycopg.Connection[Any], problem: str, query: str, problems: list[str]) -> int:
    rows = session.execute(query.encode()).fetchall()
    if rows:
        problems.append(f"{problem}: {len(rows)}, such as {rows[:_SHOWN]}")
    return len(rows)


def _row(session: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row = session.execute(query.encode()).fetchone()
    assert row is not None
    return tuple(row)
