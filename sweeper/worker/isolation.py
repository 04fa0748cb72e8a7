"""Isolation: while a suspected poison message is handled, this process begins nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, get_ident

from sweeper.job import Message


class Isolation:
    """Admits the workers of one process to their steps, all of them or a single one.

    A worker that has read a suspect claims to be alone, waits until the others have ended their
    steps, and is alone until the end of its own. No other step begins meanwhile, so that no other
    message counts a crash if the suspect ends the process.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._at_work = set[int]()
        self._alone: int | None = None

    @contextmanager
    def step(self) -> Iterator[bool]:
        """Yield whether the calling thread may begin a step, which lasts as long as the context."""
        me = get_ident()
        with self._changed:
            admitted = self._alone in {None, me}
            if admitted:
                self._at_work.add(me)
        try:
            yield admitted
        finally:
            with self._changed:
                self._at_work.discard(me)
                if self._alone == me:
                    self._alone = None
                self._changed.notify_all()

    def alone(self, seconds: float = 0.0) -> bool:
        """Claim to be alone, and return whether the calling thread is so within *seconds*.

        It returns False at once where another thread has claimed it.
        """
        me = get_ident()
        with self._changed:
            if self._alone not in {None, me}:
                return False
            self._alone = me
            return self._changed.wait_for(lambda: self._at_work <= {me}, seconds)

    def claimed(self) -> bool:
        """Return whether another thread has claimed to be alone, so that nothing may be begun."""
        with self._changed:
            return self._alone not in {None, get_ident()}


def isolate_poison(
    messages: Sequence[Message], size: int, crash_limit: int
) -> tuple[list[Message], list[Message]]:
    """Return the messages to begin, and those to give back at once.

    A poison message crashes its worker, which must not cost other messages a read: the more often a
    message was read without a decision, the fewer are begun together with it. Before the last crash
    that it may have it stands alone, so that each that is dead-lettered as crashed did so alone.
    """
    doomed = [message for message in messages if message.crashes >= crash_limit]
    worst = max((each.crashes for each in messages if each.crashes < crash_limit), default=0)
    if worst == 0:
        return list(messages), []
    suspects = [message for message in messages if message.crashes == worst]
    most = 1 if worst == crash_limit - 1 else max(1, size >> 2 * worst)
    to_begin = [*doomed, *suspects[:most]]
    chosen = {message.msg_id for message in to_begin}
    return to_begin, [message for message in messages if message.msg_id not in chosen]
