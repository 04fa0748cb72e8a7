"""A read whose answer was lost: what it took is given back, and nothing else.

It wrote its number and its transaction into its reader's row of `sweeper.read_mark`. To ask that
row is to write it: so a read that is under way is waited for, and one that has not arrived yet
fails. The messages are those which that transaction was the last to write: another read, a renewal
or a give-back since has written them anew.
"""

from sqlalchemy import Connection, func, text

from sweeper.postgres.deferred import avoid
from sweeper.queue.pgmq import Queues
from sweeper.queue.read import ReadMark

_DECIDE = text(
    "insert into sweeper.read_mark as mark (reader, number, xid, queue, first_vt, last_vt)"
    " values (cast(:reader as uuid), :number, '0', '', now(), now())"
    " on conflict (reader) do update set number = excluded.number,"
    " xid = case when mark.number = excluded.number then mark.xid else excluded.xid end"
    " returning cast(xid as text) as xid, queue, first_vt, last_vt"
)
_NEVER = "0"  # the transaction of a read that was not committed
_WRITTEN_BY = text("xmin = cast(cast(:xid as xid8) as xid)")
_PRUNE = text("delete from sweeper.read_mark where last_vt < now() - interval '1 day'")


def undo(tx: Connection, queues: Queues, mark: ReadMark) -> None:
    """Make what the latest read of *mark* took visible, as though it had not been read.

    Once this is committed, that read is decided: it cannot be committed later. It may be repeated.
    """
    found = tx.execute(_DECIDE, {"reader": mark.reader, "number": mark.number}).one()
    if found.xid == _NEVER:
        return
    table = queues.tables[found.queue]
    avoid(tx, "seqscan")  # there is an index on vt
    tx.execute(
        table.update()
        .values(vt=func.clock_timestamp(), read_ct=table.c.read_ct - 1)
        .where(table.c.vt.between(found.first_vt, found.last_vt), _WRITTEN_BY),
        {"xid": found.xid},
    )


def prune(tx: Connection) -> None:
    """Delete the marks of readers that have read nothing for a day."""
    tx.execute(_PRUNE)
