"""How a job stands in a message: read tolerantly, written strictly."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sweeper.job import Job, JobType, Message
from sweeper.postgres.clock import iso
from sweeper.retry import DeadReason

_DIGITS = 9  # what fits an INT with room to count on
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class MalformedMessage:
    """A message that no retry makes readable; its type, where at least that could be read."""

    message: Message
    reason: DeadReason
    error: str
    type: str | None = None


@dataclass(frozen=True, slots=True)
class MultiKeyMessage:
    """A message that names several keys; it becomes one message for each of these bodies."""

    message: Message
    type: JobType[Any]
    bodies: tuple[dict[str, Any], ...]


def encode(
    job: JobType[Any], payload: Mapping[str, Any], *, created_at: str, max_retries: int
) -> dict[str, Any]:
    """Return the body of a new job, as the platform's own worker reads it."""
    return {
        "type": job.name,
        "payload": dict(payload),
        "retryCount": 0,
        "maxRetries": retries_of(job, max_retries),
        "createdAt": created_at,
    }


def retry_body(job: Job[Any], error: str) -> dict[str, Any]:
    """Return the body with which *job* is sent again after it raised *error*."""
    return {**job.body, "retryCount": job.attempt, "lastError": error}


def reset_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dead job's body with a clean count, as a person sends it again."""
    return {name: value for name, value in body.items() if name != "lastError"} | {"retryCount": 0}


def retries_of(job: JobType[Any], max_retries: int) -> int:
    """Return how often *job* is retried where its message does not say."""
    return max_retries if job.max_retries is None else job.max_retries


def parse(
    message: Message, types: Mapping[str, JobType[Any]], max_retries: int
) -> Job[Any] | MultiKeyMessage | MalformedMessage:
    """Return what *message* asks for.

    types       -- every known job type by name
    max_retries -- where neither the body nor the type says a number
    """
    try:
        return _parse(message, types, max_retries)
    except ValidationError as error:
        return MalformedMessage(message, DeadReason.INVALID, faults(error), _type(message))
    except KeyError as error:
        told = f"there is no job type {error}"
        return MalformedMessage(message, DeadReason.UNKNOWN_TYPE, told, _type(message))
    except ValueError as error:
        return MalformedMessage(message, DeadReason.INVALID, str(error))


def _parse(
    message: Message, types: Mapping[str, JobType[Any]], max_retries: int
) -> Job[Any] | MultiKeyMessage:
    body = open_string(None if message.raw is None else json_value(message.raw))
    _expect(isinstance(body, dict), f"the body is {_kind(body)}, not an object")
    name = body.get("type")
    _expect(isinstance(name, str), f"the type is {_kind(name)}, not a name")
    job = types[name]
    singles = split_payload(job, body.get("payload"))
    payloads = [job.payload.model_validate(single) for single in singles]
    retries = _count(body.get("maxRetries"), retries_of(job, max_retries))
    failed = _count(body.get("retryCount"), 0)
    created = body.get("createdAt")
    strict = body | {"retryCount": failed, "maxRetries": retries}
    strict["createdAt"] = created if isinstance(created, str) else iso(message.enqueued_at)
    if len(payloads) > 1:
        return MultiKeyMessage(
            message, job, tuple({**strict, "payload": single} for single in singles)
        )
    sweep_id = body.get("sweepId")
    return Job(
        message=message,
        type=job,
        payload=payloads[0],
        body={**strict, "payload": singles[0]},
        retry_count=failed,
        max_retries=retries,
        sweep_id=sweep_id if isinstance(sweep_id, str) else None,
    )


def faults(error: ValidationError) -> str:
    """Return what is wrong with a payload in one line, by field and without its values."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'payload'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )


def json_value(text: str) -> Any:
    """Return the value that *text* spells; raises ValueError for what cannot be written back."""
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


def open_string(value: Any) -> Any:
    """Open a JSON string that holds JSON, once; everything else is returned as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json_value(value)
    except ValueError:
        return value


def split_payload(job: JobType[Any], payload: Any) -> list[Any]:
    """Return one payload a key where *payload* lists keys, else *payload* alone."""
    payload = open_string(payload)
    keys = payload.get(job.many) if isinstance(payload, dict) and job.many else None
    if not isinstance(keys, list):
        return [payload]
    rest = {name: value for name, value in payload.items() if name != job.many}
    wire_key = job.wire(job.key)
    if wire_key in rest:
        keys = [rest[wire_key], *keys]
    singles = [{**rest, wire_key: key} for key in keys]
    # What is no string is left for the model to refuse; repr makes it comparable until then.
    return list({repr(single[wire_key]): single for single in singles}.values()) or [rest]


def _type(message: Message) -> str:
    """Return the type of a body that was read so far, cut where a stranger made it long."""
    return str(open_string(json_value(message.raw or ""))["type"])[:100]


def _expect(holds: bool, otherwise: str) -> None:  # noqa: FBT001 -- it is the whole point
    if not holds:
        raise ValueError(otherwise)


def _count(value: Any, default: int) -> int:
    """Read a sane whole number, or its digits in a string; anything else is *default*."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**_DIGITS:
        return value
    return default


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        message = f"{text[:20]} is no number that JSON can hold"
        raise ValueError(message)
    return number


def _kind(value: object) -> str:
    """Return how JSON calls the type of *value*."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "missing" if value is None else names.get(type(value), "a number")
