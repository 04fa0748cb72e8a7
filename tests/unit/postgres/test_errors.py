"""What a database error means, where no server is needed to raise it."""

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper.postgres.errors import is_disconnected, is_transient


def test_a_wait_for_a_free_connection_in_vain_costs_no_attempt() -> None:
    """L5: it says nothing about the job; the messages are given back."""
    error = PoolTimeoutError("QueuePool limit of size 5 overflow 0 reached")

    assert (True, True) == (is_disconnected(error), is_transient(error))
