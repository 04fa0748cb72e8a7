"""The wire format: message bodies are parsed leniently into jobs, and encoded strictly."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

from pydantic import ValidationError

from sweeper.job import Job, JobType, Message
from sweeper.postgres.clock import iso
from sweeper.queue.json_text import json_value, open_string
from sweeper.queue.pgmq import BODY_BYTES
from sweeper.redact import shortened
from sweeper.retry import DeadReason

LONGEST_NAME = 200  # characters of an id, a key or a type; ours have 36 at the most

KEYS = 10_000
"""The largest number of keys in one message; one that lists more is dead-lettered as invalid."""

SPLIT_BYTES = 16 << 20
"""How large the messages together may be into which one is split."""

MOST_RETRIES = 100
"""What a larger `maxRetries` of a message is cut to, unless the settings or the type allow more."""

COUNTS = POSTPONED, TIMED_OUT = "postponed", "timedOut"  # keys of our own in the body

_DIGITS = 9  # fits an INT, with room for counting further
_LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class OneForEach(Sequence[dict[str, Any]]):
    """One JSON object for each of *values*, under *name* beside the fields of *rest*.

    Each is made when it is asked for, so that the copies of *rest* are never all in memory.
    """

    rest: Mapping[str, Any] = field(repr=False)
    name: str
    values: Sequence[Any] = field(repr=False)

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> "OneForEach": ...
    def __getitem__(self, place: int | slice) -> "dict[str, Any] | OneForEach":
        if isinstance(place, slice):
            return replace(self, values=self.values[place])
        return {**self.rest, self.name: self.values[place]}


@dataclass(frozen=True, slots=True)
class MalformedMessage:
    """A message that cannot be parsed, why, and its type where that could be read."""

    message: Message
    reason: DeadReason
    error: str
    type: str | None = None


@dataclass(frozen=True, slots=True)
class MultiKeyMessage:
    """A message with a list of keys; it is split into one message for each of *bodies*.

    A body may still be malformed: that concerns its own key only. There is none for an empty list.
    """

    message: Message
    type: JobType[Any]
    bodies: Sequence[dict[str, Any]] = field(repr=False)


def encode(
    job: JobType[Any], payload: Mapping[str, Any], *, created_at: str, max_retries: int
) -> dict[str, Any]:
    """Return the body of a new job, in the format of the platform's own worker."""
    return {
        "type": job.name,
        "payload": dict(payload),
        "retryCount": 0,
        "maxRetries": retries_of(job, max_retries),
        "createdAt": created_at,
    }


def retry_body(job: Job[Any], error: str) -> dict[str, Any]:
    """Return the body of the message that retries *job* after it raised *error*.

    Its rests begin anew. Its timeouts stay counted, so that a slow job needs no further hour.
    """
    kept = {name: value for name, value in job.body.items() if name != POSTPONED}
    return {**kept, "retryCount": job.attempt, "lastError": error}


def postponement(job: Job[Any], *, timed_out: bool = False) -> dict[str, int]:
    """Return the keys of a body that count one more postponement of *job*."""
    counts = {POSTPONED: job.postponed + 1}
    return counts | {TIMED_OUT: job.timed_out + 1} if timed_out else counts


def retries_of(job: JobType[Any], max_retries: int) -> int:
    """Return how often *job* is retried if its message has no number of its own."""
    return max_retries if job.max_retries is None else job.max_retries


def parse(
    message: Message, types: Mapping[str, JobType[Any]], max_retries: int
) -> Job[Any] | MultiKeyMessage | MalformedMessage:
    """Parse *message* into a job, several jobs, or the reason why it is malformed.

    types       -- every known job type by name
    max_retries -- the default where neither the body nor the type has a number
    """
    try:
        return _parse(message, types, max_retries)
    except ValidationError as error:
        return MalformedMessage(message, DeadReason.INVALID, faults(error), _type(message))
    except KeyError as error:
        unknown = shortened(f"there is no job type {error}", _LONGEST_ERROR)
        return MalformedMessage(message, DeadReason.UNKNOWN_TYPE, unknown, _type(message))
    except ValueError as error:
        return MalformedMessage(message, DeadReason.INVALID, str(error))


def _parse(
    message: Message, types: Mapping[str, JobType[Any]], max_retries: int
) -> Job[Any] | MultiKeyMessage | MalformedMessage:
    _require(message.size <= BODY_BYTES, lambda: _too_large(message.size))
    body = open_string(None if message.raw is None else json_value(message.raw))
    _require(isinstance(body, dict), lambda: f"the body is {_kind(body)}, not an object")
    name = body.get("type")
    _require(isinstance(name, str), lambda: f"the type is {_kind(name)}, not a name")
    _require(len(name) <= LONGEST_NAME, lambda: _too_long("type", name))
    job = types[name]
    singles = split_payload(job, body.get("payload"))
    payload = job.payload.model_validate(singles[0]) if len(singles) == 1 else None
    usual = retries_of(job, max_retries)
    retries = min(_count(body.get("maxRetries"), usual), max(MOST_RETRIES, usual))
    retry_count = _count(body.get("retryCount"), 0)
    created = body.get("createdAt")
    normalized = {
        **body,
        "retryCount": retry_count,
        "maxRetries": retries,
        "createdAt": created if _is_name(created) else iso(message.enqueued_at),
    }
    if payload is None:
        return _split(message, job, OneForEach(normalized, "payload", singles))
    normalized["payload"] = singles[0]
    sweep_id = body.get("sweepId")
    parsed = Job(
        message=message,
        type=job,
        payload=payload,
        body=normalized,
        retry_count=retry_count,
        max_retries=retries,
        sweep_id=sweep_id if _is_name(sweep_id) else None,
        postponed=_count(body.get(POSTPONED), 0),
        timed_out=_count(body.get(TIMED_OUT), 0),
    )
    if len(parsed.key) > LONGEST_NAME:
        error = _too_long("key", parsed.key)
        return MalformedMessage(message, DeadReason.INVALID, error, name)
    return parsed


def _split(message: Message, job: JobType[Any], bodies: OneForEach) -> MultiKeyMessage:
    size = sum(len(json.dumps(each)) for each in bodies[:1]) * len(bodies)
    _require(
        size <= SPLIT_BYTES,
        lambda: (
            f"the messages for its {len(bodies):,} keys would have {size:,} bytes,"
            f" and at most {SPLIT_BYTES:,} may be"
        ),
    )
    return MultiKeyMessage(message, job, bodies)


def faults(error: ValidationError) -> str:
    """Return the faults of a payload in one line, by field and without the payload's values."""
    found = "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'payload'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return shortened(found, _LONGEST_ERROR)


def split_payload(job: JobType[Any], payload: Any) -> Sequence[Any]:
    """Return one payload for each key that *payload* lists, or *payload* alone if it has no list.

    The result is empty if the list is. Raises ValueError for a list of more than KEYS keys.
    """
    payload = open_string(payload)
    keys = payload.get(job.many) if isinstance(payload, dict) and job.many else None
    if not isinstance(keys, list):
        return [payload]
    rest = {name: value for name, value in payload.items() if name != job.many}
    wire_key = job.wire(job.key)
    if wire_key in rest:
        keys = [rest[wire_key], *keys]
    _require(len(keys) <= KEYS, lambda: f"it lists {len(keys):,} keys, and at most {KEYS:,} may be")
    # A key that is not a string is rejected by the model later; repr makes it hashable here.
    return OneForEach(rest, wire_key, list({repr(key): key for key in keys}.values()))


def _type(message: Message) -> str:
    """Return the type of a body that is known to have one."""
    return str(open_string(json_value(message.raw or ""))["type"])


def _too_large(size: int) -> str:
    return f"the body has {size:,} bytes, and at most {BODY_BYTES:,} are read"


def _too_long(what: str, name: str) -> str:
    return f"the {what} has {len(name):,} characters, and {LONGEST_NAME} are allowed"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_NAME


def _require(condition: bool, message: Callable[[], str]) -> None:  # noqa: FBT001 -- as in `assert`
    if not condition:
        raise ValueError(message())


def _count(value: Any, default: int) -> int:
    """Return *value* if it is a small whole number or its digits, else *default*."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**_DIGITS:
        return value
    return default


def _kind(value: object) -> str:
    """Return JSON's name for the type of *value*."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "missing" if value is None else names.get(type(value), "a number")
