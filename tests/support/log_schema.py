"""Validate log lines against the JSON schema of the event reference."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from sweeper import catalog, redact
from sweeper.cli import event_reference
from sweeper.event import Event

EVENTS = catalog.load("jobs").events
SCHEMA = event_reference.schema(EVENTS)

_times = FormatChecker(formats=())
_validators = {
    name: Draft202012Validator(schema, format_checker=_times)
    for name, schema in SCHEMA["$defs"].items()
}


@_times.checks("date-time", raises=ValueError)
def _is_aware_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def _validator_of(event: Event) -> Draft202012Validator:
    """Return what checks an event's lines, also of an event that a job package of a test logs."""
    schema = event_reference.schema([event])["$defs"][event.name]
    return _validators.get(event.name) or Draft202012Validator(schema, format_checker=_times)


def faults(line: Mapping[str, Any]) -> list[str]:
    """Return one line for each violation of the schema by a log line."""
    name = line.get("event")
    if name not in _validators:
        return [f"{name} is not in the catalogue"]
    return _violations(_validators[name], line)


def _violations(validator: Draft202012Validator, line: Mapping[str, Any]) -> list[str]:
    found = validator.iter_errors(line)
    return [f"{line['event']}: {error.json_path} {error.message}" for error in found]


def faults_of(event: Event, values: Mapping[str, Any]) -> list[str]:
    """Return one line for each violation of the schema if *event* is logged with *values*."""
    head = {
        "timestamp": "2026-01-31T12:00:00Z",
        "level": event.level,
        "event": event.name,
        "instance": "host:1",
    }
    line = redact.line(None, "", {**head, **values, **event.advice})
    return _violations(_validator_of(event), line)


def lines(log: str) -> list[dict[str, Any]]:
    """Return the complete lines of a log; fails if one of them violates the schema."""
    parsed = [json.loads(line) for line in log.rpartition("\n")[0].splitlines()]
    assert [] == [fault for line in parsed for fault in faults(line)]
    return parsed
