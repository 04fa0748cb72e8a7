"""The dead-letter queue: operators list dead letters, retry them from the start, or drop them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, cast, func

from sweeper.errors import UsageError
from sweeper.job import JobType, Priority
from sweeper.ledger import Outcome, record
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.queue.dead_letter import DeadLetter
from sweeper.queue.dead_letter_table import letters, lock, read, send_again
from sweeper.queue.pgmq import Queues


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects dead letters; without any criterion it selects all of them."""

    ids: Sequence[int] = ()
    type: str | None = None
    reason: str | None = None
    fingerprint: str | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Return whether *letter* has the type, reason and fingerprint of the filter."""
        return all(
            expected is None or expected == actual
            for expected, actual in (
                (self.type, letter.type),
                (self.reason, letter.reason),
                (self.fingerprint, letter.fingerprint),
            )
        )


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """Finds dead letters, and retries or drops them."""

    database: Database
    queues: Queues
    types: Mapping[str, JobType[Any]]

    def find(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        """Return the dead letters that *wanted* selects; raises UsageError for an unknown id."""
        with self.database.transaction() as tx:
            return self._find(tx, wanted)

    def retry(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        """Enqueue the jobs of the selected dead letters as new ones; return the dead letters."""
        return self._take(wanted, Outcome.REVIVED)

    def drop(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        """Delete the selected dead letters and return them; a scan finds what is still due."""
        return self._take(wanted, Outcome.DROPPED)

    def _find(self, tx: Connection, wanted: DeadLetterFilter) -> list[DeadLetter]:
        table = letters(self.queues)
        ids = cast(list(wanted.ids), ARRAY(BigInteger))
        found = read(tx, table, *([table.c.msg_id == func.any(ids)] if wanted.ids else []))
        unknown = set(wanted.ids) - {letter.msg_id for letter in found}
        if unknown:
            message = f"there is no dead letter {', '.join(map(str, sorted(unknown)))}"
            raise UsageError(message)
        return [letter for letter in found if wanted.matches(letter)]

    def _take(self, wanted: DeadLetterFilter, outcome: Outcome) -> list[DeadLetter]:
        with self.database.transaction() as tx:
            found = self._find(tx, wanted)
            ours = lock(tx, self.queues, [letter.msg_id for letter in found])
            taken = [letter for letter in found if letter.msg_id in ours]
            if outcome is Outcome.REVIVED:
                for queue in {self._queue_of(letter) for letter in taken}:
                    ids = [each.msg_id for each in taken if self._queue_of(each) == queue]
                    send_again(tx, self.queues, ids, queue)
            self.queues.delete(tx, self.queues.dead, ours)
            record(tx, [letter.ending(letter.msg_id, outcome) for letter in taken], clock.now())
        return taken

    def _queue_of(self, letter: DeadLetter) -> str:
        job = self.types.get(letter.type or "")
        if job:
            return self.queues.home(job)
        normal = self.queues.by_priority[Priority.NORMAL]
        return letter.queue if letter.queue in self.queues.live else normal
