"""The catalogue of log events: its names, levels and fields are a contract."""

import re
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from structlog.testing import capture_logs

import jobs
from sweeper import events
from sweeper.event import Event
from tests.support.log_schema import EVENTS, SCHEMA

# The second parts of event names that do not end in -ed.
OTHER_VERBS = {
    "anomaly",
    "dead",
    "done",
    "heartbeat",
    "hidden",
    "lost",
    "ready",
    "sent",
    "split",
    "stopping",
}

PROMISED = (
    "service.started",
    "service.ready",
    "service.heartbeat",
    "service.stopping",
    "service.stopped",
    "scan.finished",
    "scan.braked",
    "order.anomaly",
    "batch.done",
    "job.retried",
    "job.dead",
    "job.lost",
    "lease.lost",
    "notification.sent",
    "notification.failed",
    "database.lost",
    "database.recovered",
    "clock.skewed",
)

COMMON_FIELDS = {"timestamp", "level", "event", "instance", "remedy"}

# By the type in the schema; a choice is the first of its members.
SAMPLES: dict[str, Any] = {
    "string": "2026-01-31T12:00:00Z",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": ["c0"],
    "object": {"refunds_owed": 1.0},
}

each = pytest.mark.parametrize("event", [pytest.param(e, id=e.name) for e in EVENTS])


def sample(event: Event) -> dict[str, Any]:
    """Return values that the catalogue allows."""
    schema = SCHEMA["$defs"][event.name]["properties"]
    return {name: sample_value(schema[name]) for name in event.fields}


def sample_value(kind: Mapping[str, Any]) -> Any:
    """Return a value that the JSON schema *kind* allows."""
    (first, *_) = kind["type"] if isinstance(kind["type"], list) else [kind["type"]]
    return kind.get("enum", [SAMPLES[first]])[0]


def declared_events() -> dict[str, Event]:
    """Return every event that the engine or a job file declares, by the name of its constant."""
    files = (import_module(f"jobs.{found.name}") for found in iter_modules(jobs.__path__))
    named = [vars(events), *map(vars, files)]
    return {
        name: value
        for values in named
        for name, value in values.items()
        if isinstance(value, Event)
    }


@each
def test_an_event_name_is_a_noun_and_a_verb(event: Event) -> None:
    noun, _, verb = event.name.partition(".")

    assert re.fullmatch(r"[a-z]+", noun)
    assert re.fullmatch(r"[a-z_]+ed", verb) or verb in OTHER_VERBS


@pytest.mark.parametrize("name", PROMISED)
def test_the_promised_events_exist(name: str) -> None:
    assert name in {event.name for event in EVENTS}


def test_the_catalogue_is_sorted_and_its_names_are_unique() -> None:
    names = [event.name for event in EVENTS]

    assert sorted(set(names)) == names


def test_every_declared_event_is_in_the_catalogue_once() -> None:
    counts = Counter(event.name for event in declared_events().values())

    assert counts == Counter(event.name for event in EVENTS)


def test_a_constant_has_the_name_of_its_event() -> None:
    expected = {event.name.upper().replace(".", "_") for event in declared_events().values()}

    assert expected == declared_events().keys()


@each
def test_every_field_has_a_description(event: Event) -> None:
    assert [] == [name for name, meaning in event.fields.items() if not meaning.strip()]


@each
def test_no_field_has_the_name_of_a_common_field(event: Event) -> None:
    assert set() == COMMON_FIELDS & set(event.fields)


@each
def test_no_field_has_a_name_that_suggests_a_secret(event: Event) -> None:
    """L11: an event has no phone, message text or URL; callers mask the value of `to`."""
    assert set() == {"phone", "message", "text", "url", "body", "payload"} & set(event.fields)


@each
def test_every_error_event_says_what_the_operator_should_do(event: Event) -> None:
    assert event.level != "error" or event.action != "Nothing."


@each
def test_an_event_is_logged_with_its_fields_at_its_level(event: Event) -> None:
    values = sample(event)

    with capture_logs() as lines:
        event.log(**values)

    line = {"event": event.name, "log_level": event.level, **values, **event.advice}
    assert [line] == lines


@each
def test_a_field_that_is_not_in_the_catalogue_is_refused(event: Event) -> None:
    values = dict.fromkeys(event.fields, 1)

    with capture_logs() as lines, pytest.raises(TypeError, match="differ in shoe_size"):
        event.log(**values, shoe_size=43)

    assert [] == lines


@each
def test_a_field_that_is_missing_is_refused(event: Event) -> None:
    first, *others = event.fields

    with pytest.raises(TypeError, match=f"differ in {first}"):
        event.log(**dict.fromkeys(others, 1))


@pytest.mark.parametrize("name", ["job.dead", "scan.braked", "clock.skewed", "database.lost"])
def test_events_that_need_an_alarm_are_errors(name: str) -> None:
    (level,) = {event.level for event in EVENTS if event.name == name}

    assert "error" == level
