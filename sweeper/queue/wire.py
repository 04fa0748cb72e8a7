"""The wire format: message bodies are parsed leniently into jobs, and encoded strictly."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from sweeper.job import Job, JobType, Message
from sweeper.postgres.clock import iso
from sweeper.retry import DeadReason

_DIGITS = 9  # fits an INT, with room for counting further
_NOT_ASCII = re.compile(r"[^\x20-\x7e\s]")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


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
    bodies: tuple[dict[str, Any], ...] = field(repr=False)


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
    """Return the body of the message that retries *job* after it raised *error*."""
    return {**job.body, "retryCount": job.attempt, "lastError": error}


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
        unknown = f"there is no job type {error}"
        return MalformedMessage(message, DeadReason.UNKNOWN_TYPE, unknown, _type(message))
    except ValueError as error:
        return MalformedMessage(message, DeadReason.INVALID, str(error))


def _parse(
    message: Message, types: Mapping[str, JobType[Any]], max_retries: int
) -> Job[Any] | MultiKeyMessage:
    body = open_string(None if message.raw is None else json_value(message.raw))
    _require(isinstance(body, dict), f"the body is {_kind(body)}, not an object")
    name = body.get("type")
    _require(isinstance(name, str), f"the type is {_kind(name)}, not a name")
    job = types[name]
    singles = split_payload(job, body.get("payload"))
    payload = job.payload.model_validate(singles[0]) if len(singles) == 1 else None
    retries = _count(body.get("maxRetries"), retries_of(job, max_retries))
    retry_count = _count(body.get("retryCount"), 0)
    created = body.get("createdAt")
    normalized = body | {"retryCount": retry_count, "maxRetries": retries}
    normalized["createdAt"] = created if isinstance(created, str) else iso(message.enqueued_at)
    if payload is None:
        return MultiKeyMessage(
            message, job, tuple({**normalized, "payload": single} for single in singles)
        )
    sweep_id = body.get("sweepId")
    return Job(
        message=message,
        type=job,
        payload=payload,
        body={**normalized, "payload": singles[0]},
        retry_count=retry_count,
        max_retries=retries,
        sweep_id=sweep_id if isinstance(sweep_id, str) else None,
    )


def faults(error: ValidationError) -> str:
    """Return the faults of a payload in one line, by field and without the payload's values."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'payload'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )


def json_value(text: str) -> Any:
    """Parse JSON; raises ValueError where it is not valid, or Postgres cannot store its value."""
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_finite)
        written_back = json.dumps(value, ensure_ascii=False)
        written_back.encode()
    except (ValueError, RecursionError) as error:
        message = f"no JSON that can be worked with ({type(error).__name__})"
        raise ValueError(message) from error
    if _NUL.search(written_back):
        message = "it holds a NUL, which no text in Postgres can"
        raise ValueError(message)
    return value


def ascii_json(raw: str) -> str:
    """Return JSON text with all but ASCII escaped, as `json.dumps` does, without parsing it."""
    return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], raw)


def open_string(value: Any) -> Any:
    """Parse *value* once if it is a string of JSON; anything else is returned as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json_value(value)
    except ValueError:
        return value


def split_payload(job: JobType[Any], payload: Any) -> list[Any]:
    """Return one payload for each key that *payload* lists, or *payload* alone if it has no list.

    The result is empty if the list is.
    """
    payload = open_string(payload)
    keys = payload.get(job.many) if isinstance(payload, dict) and job.many else None
    if not isinstance(keys, list):
        return [payload]
    rest = {name: value for name, value in payload.items() if name != job.many}
    wire_key = job.wire(job.key)
    if wire_key in rest:
        keys = [rest[wire_key], *keys]
    singles = [{**rest, wire_key: key} for key in keys]
    # A key that is not a string is rejected by the model later; repr makes it hashable here.
    return list({repr(single[wire_key]): single for single in singles}.values())


def _type(message: Message) -> str:
    """Return the type of a body that is known to have one, cut to 100 characters."""
    return str(open_string(json_value(message.raw or ""))["type"])[:100]


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 -- as in `assert`
    if not condition:
        raise ValueError(message)


def _count(value: Any, default: int) -> int:
    """Return *value* if it is a small whole number or its digits, else *default*."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**_DIGITS:
        return value
    return default


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        message = f"{text[:20]} is not a number that JSON can hold"
        raise ValueError(message)
    return number


def _kind(value: object) -> str:
    """Return JSON's name for the type of *value*."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "missing" if value is None else names.get(type(value), "a number")
