"""pgmq's notifications of new messages, which version 1.7 can send, from 1.8 on with a throttle.

pgmq has a trigger for them, which it creates on a queue's table when it is asked to. With the
throttle it runs with the rights of whoever sends, and updates one row for each queue, so that
senders whose transactions stay open wait for each other. So only a person has it created.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, text

from sweeper.errors import DatabaseUnusableError
from sweeper.queue.pgmq import Queues

_CAN = text(
    "select to_regprocedure('pgmq.enable_notify_insert(text, integer)') is not null"
    " or to_regprocedure('pgmq.enable_notify_insert(text)') is not null"
)
_WITHOUT_TRIGGER = text(
    "select queue from unnest(cast(:queues as text[])) as queue where not exists ("
    " select from pg_trigger where tgrelid = to_regclass(format('pgmq.%I', 'q_' || queue))"
    " and tgfoid = to_regproc('pgmq.notify_queue_listeners') and tgenabled in ('O', 'A'))"
)
_HAS_THROTTLES = text("select to_regprocedure('pgmq.list_notify_insert_throttles()') is not null")
_THROTTLES = text(
    "select queue_name, throttle_interval_ms from pgmq.list_notify_insert_throttles()"
)
_ENABLE = text("select pgmq.enable_notify_insert(cast(:queue as text))")
_MAY_NOT = text(
    "select quote_ident(rolname) from pg_roles as role "
    " where not rolsuper and rolname !~ '^pg_'"
    " and exists (select from unnest(cast(:queues as text[])) as queue"
    "  where has_any_column_privilege(role.oid, format('pgmq.%I', 'q_' || queue), 'insert'))"
    " and not (has_any_column_privilege(role.oid, 'pgmq.notify_insert_throttle', 'select')"
    "  and has_column_privilege("
    "   role.oid, 'pgmq.notify_insert_throttle', 'last_notified_at', 'update'))"
    " order by rolname"
)
GRANT = "grant select, update (last_notified_at) on pgmq.notify_insert_throttle to {roles};"
"""What a role needs to send to a queue that notifies."""

ENABLE_COMMAND = "sweeper migrate --with-notify"


def channel(queue: str) -> str:
    """Return the channel on which pgmq notifies of new messages in *queue*."""
    return f"pgmq.q_{queue}.INSERT"


def can_notify(tx: Connection) -> bool:
    """Return whether this pgmq has notifications."""
    return bool(tx.execute(_CAN).scalar_one())


def has_trigger(tx: Connection, queues: Queues) -> bool:
    """Return whether any live queue has pgmq's trigger."""
    return len(_without_trigger(tx, queues)) < len(queues.live)


def silent(tx: Connection, queues: Queues) -> list[str]:
    """Return the live queues that do not notify, also those whose throttle was lost in a crash."""
    found = _without_trigger(tx, queues)
    if len(found) < len(queues.live) and tx.execute(_HAS_THROTTLES).scalar_one():
        found |= set(queues.live) - {queue for queue, _ in tx.execute(_THROTTLES)}
    return [queue for queue in queues.live if queue in found]


def throttle(tx: Connection, queues: Queues) -> timedelta:
    """Return the longest time for which a queue keeps quiet after a notification."""
    if not tx.execute(_HAS_THROTTLES).scalar_one():
        return timedelta()
    lengths = [length for queue, length in tx.execute(_THROTTLES) if queue in queues.live]
    return timedelta(milliseconds=max(lengths, default=0))


def hindered(tx: Connection, queues: Queues) -> Sequence[str]:
    """Return the roles, quoted, that may send, but not to queues that notify."""
    if not tx.execute(_HAS_THROTTLES).scalar_one():
        return []
    return list(tx.execute(_MAY_NOT, {"queues": list(queues.live)}).scalars())


def enable(tx: Connection, queues: Queues) -> list[str]:
    """Have every live queue notify, and return those that did not before.

    Raises DatabaseUnusableError where pgmq cannot, or a role that sends now could not any more.
    """
    if not can_notify(tx):
        message = "this pgmq has no notifications\nupgrade it, or go on without: polling does it"
        raise DatabaseUnusableError(message)
    if roles := hindered(tx, queues):
        named = ", ".join(roles)
        message = f"with notifications, {named} could not send any more\nfirst: "
        raise DatabaseUnusableError(message + GRANT.format(roles=named))
    quiet = silent(tx, queues)
    for queue in quiet:
        tx.execute(_ENABLE, {"queue": queue})
    return quiet


def _without_trigger(tx: Connection, queues: Queues) -> set[str]:
    return set(tx.execute(_WITHOUT_TRIGGER, {"queues": list(queues.live)}).scalars())
