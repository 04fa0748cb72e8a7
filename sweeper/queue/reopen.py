"""Reopening: the handlers of outbound jobs open what the deaths of these jobs have closed."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from sweeper.job import Job, JobType, Message, Outside
from sweeper.postgres import clock
from sweeper.queue.dead_letter import DeadLetter
from sweeper.queue.wire import parse


def reopen(
    tx: Connection, types: Mapping[str, JobType[Any]], letters: Iterable[DeadLetter]
) -> None:
    """Let the handlers of outbound jobs know that these *letters* are retried."""
    jobs = []
    for letter in letters:
        at = letter.died_at
        message = Message(letter.queue, letter.msg_id, 1, at, letter.body, at)
        if isinstance(job := parse(message, types, 0), Job):
            jobs.append(job)
    for kind in types.values():
        of_kind = [job for job in jobs if job.type is kind]
        if of_kind and isinstance(kind.handler, Outside):
            kind.handler.reopen(tx, of_kind, clock.now())
