"""Every wait for the database ends: a statement, a look at the queues, a frozen transaction."""

import os
from threading import Thread

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sweeper.app import App
from sweeper.postgres.errors import is_transient
from tests.support.verbs import QUEUE, Connect, OpenApp, send

POOLER = os.environ.get("SWEEPER_TEST_POOLER")


def test_a_look_at_the_queues_ends_at_its_timeouts(open_app: OpenApp, connect: Connect) -> None:
    """L9: whoever holds a queue's table does not hold the watch."""
    app = open_app(database__statement_timeout="200ms")
    holder = connect()
    holder.execute(text(f"lock table pgmq.q_{QUEUE} in access exclusive mode"))
    raised: list[Exception] = []

    def look() -> None:
        try:
            with app.database.glance() as connection:
                app.queues.ready(connection)
        except DBAPIError as error:
            raised.append(error)

    watch = Thread(target=look)
    watch.start()
    watch.join(5)
    ended = not watch.is_alive()
    holder.rollback()
    watch.join()

    assert (True, [True]) == (ended, [is_transient(error) for error in raised])


def test_a_look_at_the_queues_has_all_settings_and_leaves_none(app: App) -> None:
    """L10: what it sets is gone with its own implicit transaction, as a pooler needs it."""
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})
    look = text("select pg_backend_pid(), current_setting('statement_timeout')")

    with app.database.glance() as connection:
        ready = app.queues.ready(connection)
        during = connection.execute(look).one()
    with app.database.autocommit() as connection:
        afterwards = connection.execute(look).one()

    assert ({QUEUE}, "30s", "0") == (set(ready), during[1], afterwards[1])
    assert POOLER or during[0] == afterwards[0]
