"""Messages whose reader was killed: they are read again in small company, at last alone."""

from collections.abc import Sequence

from sweeper.job import Message


def narrowed(
    messages: Sequence[Message], size: int, crash_limit: int
) -> tuple[list[Message], list[Message]]:
    """Return what to begin with, and what to give back at once.

    Whoever reads a message that kills workers must not take its neighbours along: the more often
    a message was read without a verdict, the fewer are begun together with it, at last none.
    """
    worst = max(message.crashes for message in messages)
    if worst == 0 or worst >= crash_limit:
        return list(messages), []
    suspects = [message for message in messages if message.crashes == worst]
    begun = suspects[: max(1, size >> 2 * worst)]
    chosen = {message.msg_id for message in begun}
    return begun, [message for message in messages if message.msg_id not in chosen]
