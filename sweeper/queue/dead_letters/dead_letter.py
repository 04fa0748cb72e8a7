"""Dead letters: messages that only an operator can retry, and how they are stored."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Connection, Integer, Text, cast, func, literal, select, text
from sqlalchemy.dialects.postgresql import JSONB, array

from sweeper.job import Job, JobType, Message, Outside
from sweeper.ledger import Ending, Outcome
from sweeper.postgres import clock
from sweeper.postgres.clock import iso
from sweeper.queue.json_text import ascii_json
from sweeper.queue.pgmq import Queues
from sweeper.queue.wire import MalformedMessage, MultiKeyMessage, parse
from sweeper.redact import short
from sweeper.retry import DeadReason

_VOLATILE = re.compile(r"[0-9a-f-]{8,}|\d+|'[^']*'|\"[^\"]*\"")
_SEND = text(
    "select pgmq.send_batch(cast(:queue as text), array_agg("
    "   cast(envelope as jsonb) || case when body is null then '{}'"
    "     else jsonb_build_object('body', cast(body as jsonb)) end order by place"
    " ), cast(0 as integer))"
    " from unnest(cast(:envelopes as text[]), cast(:bodies as text[]))"
    "   with ordinality as dead (envelope, body, place)"
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that is not retried unless an operator does so.

    attempts    -- how often the job was executed
    fingerprint -- the same for errors that differ only in ids and numbers
    body        -- the message's body as JSON text; None where it was SQL NULL
    code        -- what people call the key, for a letter that is shown; it is not stored
    """

    type: str | None
    key: str | None
    reason: DeadReason
    error: str
    attempts: int
    died_at: datetime
    queue: str
    fingerprint: str
    body: str | None = field(repr=False)
    sweep_id: str | None = None
    msg_id: int = 0
    code: str | None = None

    def ending(self, msg_id: int, outcome: Outcome = Outcome.DEAD) -> Ending:
        """Return the ledger's entry on message *msg_id*, which is dead, revived or dropped.

        The reason of a rejected job is the text that its handler gave.
        """
        rejected = outcome is Outcome.DEAD and self.reason is DeadReason.REJECTED
        return Ending(
            job_type=self.type or "",
            key=self.key,
            msg_id=msg_id,
            sweep_id=self.sweep_id,
            outcome=outcome,
            reason=self.error if rejected else self.reason,
            attempt=self.attempts,
        )

    def as_json(self) -> str:
        """Return the JSON object that `sweeper dead list --json` prints, with the body as it is."""
        fields = {
            "msg_id": self.msg_id,
            "type": self.type,
            "key": self.key,
            "code": self.code,
            "reason": self.reason,
            "error": self.error,
            "attempts": self.attempts,
            "died_at": self.died_at.isoformat(),
            "fingerprint": self.fingerprint,
            "queue": self.queue,
            "sweep_id": self.sweep_id,
        }
        return f'{json.dumps(fields)[:-1]}, "body": {ascii_json(self.body or "null")}}}'


def of_job(job: Job[Any], reason: DeadReason, error: str, now: datetime) -> DeadLetter:
    """Return the dead letter of a job whose last execution failed."""
    return _of_job(job, reason, error, now, attempts=job.attempt)


def of_crashed(job: Job[Any] | MultiKeyMessage, now: datetime) -> DeadLetter:
    """Return the dead letter of a poison message: it was read too often without a decision."""
    reads = job.message.crashes
    error = f"{reads} reads ended without a verdict: the worker was killed, or lost its lease"
    if isinstance(job, Job):
        return _of_job(job, DeadReason.CRASHED, error, now, attempts=job.retry_count + reads)
    several = MalformedMessage(job.message, DeadReason.CRASHED, error, job.type.name)
    return replace(of_malformed(several, now), attempts=reads)


def of_malformed(malformed: MalformedMessage, now: datetime) -> DeadLetter:
    """Return the dead letter of a message that cannot be parsed."""
    return DeadLetter(
        type=malformed.type,
        key=None,
        reason=malformed.reason,
        error=short(malformed.error),
        attempts=0,
        died_at=now,
        queue=malformed.message.queue,
        fingerprint=fingerprint(malformed.type, malformed.error),
        body=malformed.message.raw,
    )


def fingerprint(type_name: str | None, error: str) -> str:
    """Hash an error so that errors that differ only in ids, numbers and quotes are equal."""
    normalized = f"{type_name} {_VOLATILE.sub('?', error)}"
    return hashlib.sha256(normalized.encode()).hexdigest()[:12]


def send(tx: Connection, queues: Queues, letters: Sequence[DeadLetter]) -> list[int]:
    """Send *letters* with their original bodies to the dead-letter queue, and return their ids."""
    if not letters:
        return []
    envelopes = [json.dumps(_envelope(letter)) for letter in letters]
    bodies = [letter.body for letter in letters]
    parameters = {"queue": queues.dead, "envelopes": envelopes, "bodies": bodies}
    return list(tx.execute(_SEND, parameters).scalars())


def move(tx: Connection, queues: Queues, letter: DeadLetter, msg_id: int) -> int | None:
    """Delete a message, and send *letter* with its body, which does not leave the database.

    Returns the letter's id; None where the message is gone, because another worker owns it.
    """
    source = queues.tables[letter.queue]
    gone = source.delete().where(source.c.msg_id == msg_id).returning(source.c.message).cte("gone")
    envelope = cast(literal(json.dumps(_envelope(letter)), Text), JSONB)
    whole = envelope.op("||")(func.jsonb_build_object("body", gone.c.message))
    sent = func.pgmq.send_batch(
        cast(queues.dead, Text), cast(array([whole]), ARRAY(JSONB)), cast(0, Integer)
    )
    return tx.execute(select(sent).select_from(gone)).scalar_one_or_none()


def reopen(
    tx: Connection, types: Mapping[str, JobType[Any]], letters: Iterable[DeadLetter]
) -> None:
    """Let the handlers of outbound jobs open what the deaths of these jobs have closed."""
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


def _of_job(
    job: Job[Any], reason: DeadReason, error: str, now: datetime, *, attempts: int
) -> DeadLetter:
    return DeadLetter(
        type=job.type.name,
        key=job.key,
        reason=reason,
        error=short(error),
        attempts=attempts,
        died_at=now,
        queue=job.message.queue,
        fingerprint=fingerprint(job.type.name, error),
        body=job.message.raw,
        sweep_id=job.sweep_id,
    )


def _envelope(letter: DeadLetter) -> dict[str, Any]:
    envelope = asdict(letter) | {"died_at": iso(letter.died_at)}
    del envelope["body"], envelope["msg_id"], envelope["code"]
    return envelope
