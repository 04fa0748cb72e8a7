"""Dead letters: a person looks at them, sends them again with a clean count, or drops them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from sweeper.errors import UsageError
from sweeper.job import JobType
from sweeper.ledger import Ending, Outcome, record
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.queue.pgmq import DeadLetter, Queues
from sweeper.queue.wire import afresh, opened


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are meant; without any criterion, all of them."""

    ids: Sequence[int] = ()
    type: str | None = None
    reason: str | None = None
    fingerprint: str | None = None

    def meets(self, letter: DeadLetter) -> bool:
        """Return whether *letter* is one of them."""
        return all(
            wanted is None or wanted == actual
            for wanted, actual in (
                (self.type, letter.type),
                (self.reason, letter.reason),
                (self.fingerprint, letter.fingerprint),
            )
        )


@dataclass(frozen=True, slots=True)
class Graveyard:
    """The dead-letter queue, and the ways out of it."""

    database: Database
    queues: Queues
    types: Mapping[str, JobType[Any]]

    def find(self, choice: Choice) -> list[DeadLetter]:
        """Return the letters that are meant; raises UsageError for an id that is not there."""
        with self.database.transaction() as tx:
            return self._find(tx, choice)

    def retry(self, choice: Choice) -> list[DeadLetter]:
        """Send the letters again, each to its type's own queue and with a clean count."""
        return self._take(choice, Outcome.REVIVED)

    def drop(self, choice: Choice) -> list[DeadLetter]:
        """Delete the letters; what is still due is found again by the next scan."""
        return self._take(choice, Outcome.DROPPED)

    def _find(self, tx: Connection, choice: Choice) -> list[DeadLetter]:
        letters = self.queues.dead_letters(tx, choice.ids or None)
        unknown = set(choice.ids) - {letter.msg_id for letter in letters}
        if unknown:
            message = f"there is no dead letter {', '.join(map(str, sorted(unknown)))}"
            raise UsageError(message)
        return [letter for letter in letters if choice.meets(letter)]

    def _take(self, choice: Choice, outcome: Outcome) -> list[DeadLetter]:
        with self.database.transaction() as tx:
            letters = self._find(tx, choice)
            ours = self.queues.settle(tx, self.queues.dead, [one.msg_id for one in letters])
            taken = [letter for letter in letters if letter.msg_id in ours]
            if outcome is Outcome.REVIVED:
                for letter in taken:
                    self.queues.send(tx, self._home(letter), [_body(letter)], timedelta())
            record(tx, [_ending(letter, outcome) for letter in taken], clock.now())
        return taken

    def _home(self, letter: DeadLetter) -> str:
        job = self.types.get(letter.type or "")
        return self.queues.home(job) if job else letter.queue


def _body(letter: DeadLetter) -> Any:
    body = opened(json.loads(letter.body or "null"))
    return afresh(body) if isinstance(body, dict) else body


def _ending(letter: DeadLetter, outcome: Outcome) -> Ending:
    return Ending(
        job_type=letter.type or "",
        key=letter.key,
        msg_id=letter.msg_id,
        sweep_id=letter.sweep_id,
        outcome=outcome,
        reason=letter.reason,
        attempt=letter.attempts,
    )
