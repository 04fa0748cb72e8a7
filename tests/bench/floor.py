"""The floor: a script written by hand that leaves the same rows as the engine, and nothing else.

It has no lease to renew, no retries, no dead letters, no brake, no log and no settings: it is what
the database needs for the same effects, in the engine's batches. A batch is two round trips: one
reads it, one handles it and commits.
"""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg

from sweeper.event import INSTANCE
from sweeper.postgres import clock

QUEUE = "jastipin_jobs"
BATCH = 500
LEASE = 30  # seconds
LIMIT = timedelta(minutes=30)
REASON = "Pesanan dibatalkan otomatis: DP tidak dibayar dalam 30 menit."

_UNPAID = """
    o.status = 'pending_dp' and o."createdAt" <= %(cutoff)s
    and o."dpPaidAt" is null and o."dpProofUrl" is null and o."dpPaymentId" is null
"""

SCAN = f"""
    with held as (
        insert into sweeper.lock values ('scan.ORDER_EXPIRE_DP', %(now)s)
        on conflict (name) do update set taken_at = excluded.taken_at
    ), due as (
        select o.id, row_number() over (order by o."createdAt", o.id) as place
        from "Order" as o where {_UNPAID}
    ), fresh as (
        select id, place from due where not exists (
            select from pgmq.q_{QUEUE} as q where q.message #>> '{{payload,orderId}}' = due.id
        ) and not exists (
            select from pgmq.q_{QUEUE}_dead as q where q.message ->> 'key' = due.id
        )
    ), sent as (
        select pgmq.send_batch(%(queue)s::text, array_agg(jsonb_build_object(
            'type', 'ORDER_EXPIRE_DP', 'payload', jsonb_build_object('orderId', id),
            'retryCount', 0, 'maxRetries', 3, 'createdAt', %(iso)s::text, 'sweepId', %(sweep)s::text
        ) order by place)::jsonb[], 0) from fresh having count(*) > 0
    ), counts as (select (select count(*) from due) as found, (select count(*) from sent) as sent)
    insert into sweeper.sweep (id, rule, job_type, trigger, host, at, cutoff, found, enqueued,
                               already_queued, dead, braked, anomalies, ok, keys)
    select %(sweep)s::uuid, 'expire_dp', 'ORDER_EXPIRE_DP', 'manual', %(host)s, %(now)s,
           %(aware_cutoff)s, found, sent, 0, 0, 0, 0, true,
           (select coalesce(array_agg(id order by place), '{{}}') from fresh)
    from counts
"""

READ = """
    with found as materialized (
        select msg_id, vt, message #>> '{payload,orderId}' as order_id,
               message ->> 'sweepId' as sweep_id
        from pgmq.read(%(queue)s::text, %(lease)s, %(batch)s)
    ), mark as (
        insert into sweeper.read_mark (reader, number, xid, queue, first_vt, last_vt)
        select %(reader)s::uuid, 1, pg_current_xact_id(), %(queue)s::text, min(vt), max(vt)
        from found having count(*) > 0
        on conflict (reader) do update set number = read_mark.number + 1, xid = excluded.xid,
            queue = excluded.queue, first_vt = excluded.first_vt, last_vt = excluded.last_vt
    )
    select msg_id, order_id, sweep_id from found
"""

HANDLE = f"""
    with settled as materialized (
        select * from pgmq.delete(%(queue)s::text, %(ids)s::bigint[]) as msg_id
    ), job as materialized (
        select * from unnest(%(ids)s::bigint[], %(orders)s::text[], %(sweeps)s::text[])
            as job (msg_id, order_id, sweep_id) join settled using (msg_id)
    ), locked as (
        select o.id from "Order" as o where o.id in (select order_id from job) and {_UNPAID}
        order by o.id for no key update
    ), cancelled as (
        update "Order" as o set status = 'cancelled', "rejectionReason" = %(reason)s,
                                "updatedAt" = %(naive_now)s
        from locked where locked.id = o.id returning o.*
    ), logged as (
        insert into sweeper.job_log (job_type, key, msg_id, sweep_id, outcome, reason, attempt, at)
        select 'ORDER_EXPIRE_DP', job.order_id, job.msg_id, job.sweep_id,
               case when c.id is null then 'skipped' else 'done' end,
               case when c.id is null then 'not due' end, 1, %(now)s
        from job left join cancelled as c on c.id = job.order_id order by job.msg_id
    ), notice as (
        insert into "NotificationLog" (id, "recipientType", "recipientId", "guestId", channel,
                                       "eventType", status, metadata, "createdAt")
        select 'c' || left(
                   encode(sha256(convert_to(c.id || ' ORDER_CANCELLED', 'UTF8')), 'hex'), 24),
               'PHONE', coalesce(p.phone, ''), g.id, 'WHATSAPP', 'ORDER_CANCELLED',
               case when g."notifyWhatsapp" is false then 'suppressed' else 'queued' end,
               jsonb_build_object(
                   'orderId', c.id, 'eventType', 'ORDER_CANCELLED',
                   'orderCode', coalesce(c."orderCode", '#' || upper(left(c.id, 8))),
                   'name', p.name, 'dpAmount', c."dpAmount", 'limitSeconds', 1800,
                   'nonce', gen_random_uuid()::text),
               %(naive_now)s
        from cancelled as c
        left join "Participant" as p on p.id = c."participantId"
        left join "Guest" as g on g.id = c."guestId"
        on conflict do nothing returning id, metadata, status
    ), told as (
        select pgmq.send_batch('{QUEUE}_outbound'::text, array_agg(jsonb_build_object(
            'type', 'NOTIFICATION_SEND_WHATSAPP',
            'payload', jsonb_build_object('messageId', id, 'metadata', metadata),
            'retryCount', 0, 'maxRetries', 3, 'createdAt', %(iso)s::text
        ))::jsonb[], 0) from notice where status = 'queued' having count(*) > 0
    ), item as (
        select i."orderId" as order_id, i."productId" as product_id, i.quantity
        from "OrderItem" as i join cancelled as c on c.id = i."orderId"
        union all
        select c.id, c."productId", c.quantity from cancelled as c
        where c."productId" is not null
          and not exists (select from "OrderItem" as i where i."orderId" = c.id)
    ), line as (
        select order_id, product_id, sum(quantity) as quantity from item group by 1, 2
        having sum(quantity) > 0
    ), product as (
        select id from "Product" where id in (select product_id from line)
          and type = 'goods' and not "isUnlimitedStock" and stock is not null
        order by id for no key update
    ), released as (
        insert into sweeper.stock_release (order_id, product_id, quantity, at)
        select line.order_id, line.product_id, line.quantity, %(now)s
        from line join product on product.id = line.product_id
        on conflict do nothing returning product_id, quantity
    ), total as (select product_id, sum(quantity) as quantity from released group by 1),
    restocked as (
        update "Product" as p set stock = p.stock + total.quantity, "updatedAt" = %(naive_now)s
        from total where p.id = total.product_id
    )
    select count(*) from told
"""


class Floor:
    """The script, on one connection that commits each statement with itself."""

    def __init__(self, url: str) -> None:
        # The values are put into the text, as the engine does it, for poolers.
        self.connection = psycopg.connect(
            url, autocommit=True, cursor_factory=psycopg.ClientCursor, prepare_threshold=None
        )

    def enqueue(self) -> None:
        """Send a message for every due order, and write the scan into the ledger."""
        sweep = {"sweep": str(uuid4()), "host": INSTANCE}
        self.connection.execute(SCAN, {**_moment(), **sweep})

    def work(self) -> None:
        """Read and handle batches until the queue is empty."""
        read = {"queue": QUEUE, "lease": LEASE, "batch": BATCH, "reader": str(uuid4())}
        while rows := self.connection.execute(READ, read).fetchall():
            ids, orders, sweeps = map(list, zip(*rows, strict=True))
            batch = {"ids": ids, "orders": orders, "sweeps": sweeps, "reason": REASON}
            self.connection.execute(HANDLE, {**_moment(), **batch})

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def _moment() -> dict[str, Any]:
    """Return the values of a step that begins now, times in both types that the tables have."""
    now = clock.now()
    cutoff = now - LIMIT
    return {
        "queue": QUEUE,
        "now": now,
        "naive_now": now.replace(tzinfo=None),
        "iso": clock.iso(now),
        "aware_cutoff": cutoff,
        "cutoff": cutoff.replace(tzinfo=None),
    }


open_worker = Floor
