"""The loop of the platform's old worker: one message and one transaction at a time.

It cancels the order and returns its stock; it writes no notice and no ledger.
"""

import psycopg

QUEUE = "jastipin_jobs"

SEND = """
    select pgmq.send_batch(%s::text, array_agg(jsonb_build_object(
        'type', 'ORDER_EXPIRE_DP', 'payload', jsonb_build_object('orderId', id)))::jsonb[], 0)
    from "Order" where status = 'pending_dp'
"""
READ = "select msg_id, message #>> '{payload,orderId}' from pgmq.read(%s::text, 30, 1)"
DELETE = "select pgmq.delete(%s::text, %s::bigint)"

CANCEL = """
    with cancelled as (
        update "Order" set status = 'cancelled', "rejectionReason" = 'not paid in time',
                           "updatedAt" = timezone('UTC', now())
        where id = {order} and status = 'pending_dp' and "dpPaidAt" is null
          and "createdAt" <= timezone('UTC', now()) - interval '30 minutes' returning id
    ), total as (
        select "productId" as id, sum(quantity) as quantity
        from "OrderItem" join cancelled on cancelled.id = "orderId" group by 1
    )
    update "Product" as p set stock = stock + total.quantity from total where p.id = total.id
"""
"""Cancel one order and return its stock, in one statement: the work of one job of every peer."""


class Loop:
    """The loop, on one connection."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)

    def enqueue(self) -> None:
        """Send a message for every order."""
        self.connection.execute(SEND, [QUEUE])

    def work(self) -> None:
        """Read a message, cancel its order, delete the message, until none is left."""
        cancel = CANCEL.format(order="%s")
        while row := self.connection.execute(READ, [QUEUE]).fetchone():
            msg_id, order = row
            with self.connection.transaction():
                self.connection.execute(cancel, [order])
                self.connection.execute(DELETE, [QUEUE, msg_id])

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


open_worker = Loop
