"""The catalogue of log events is an API: names, levels and fields are promised."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from jobs import events as domain_events
from sweeper import events
from sweeper.event import Event
from tests.support.log_schema import EVENTS, SCHEMA

# What happened, in one word; these are the ones that do not end in -ed.
SAYINGS = {
    "anomaly",
    "dead",
    "done",
    "heartbeat",
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

HEAD = {"timestamp", "level", "event", "instance"}

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
    return {name: example(schema[name]) for name in event.fields}


def example(kind: Mapping[str, Any]) -> Any:
    """Return a value of that kind."""
    (first, *_) = kind["type"] if isinstance(kind["type"], list) else [kind["type"]]
    return kind.get("enum", [SAMPLES[first]])[0]


def declared() -> dict[str, Event]:
    """Return every event that the engine or the domain declares, by the name of its constant."""
    named = vars(events) | vars(domain_events)
    return {name: value for name, value in named.items() if isinstance(value, Event)}


@each
def test_a_name_says_who_and_what_happened(event: Event) -> None:
    noun, _, saying = event.name.partition(".")

    assert re.fullmatch(r"[a-z]+", noun)
    assert re.fullmatch(r"[a-z_]+ed", saying) or saying in SAYINGS


@pytest.mark.parametrize("name", PROMISED)
def test_the_promised_events_are_there(name: str) -> None:
    assert name in {event.name for event in EVENTS}


def test_the_catalogue_is_sorted_and_every_name_is_one_event() -> None:
    names = [event.name for event in EVENTS]

    assert sorted(set(names)) == names


def test_every_event_of_the_module_is_in_the_catalogue() -> None:
    written = Counter(event.name for event in declared().values())

    assert written == Counter(event.name for event in EVENTS)


def test_a_constant_is_called_as_its_event_is() -> None:
    expected = {event.name.upper().replace(".", "_") for event in declared().values()}

    assert expected == declared().keys()


@each
def test_every_field_says_what_it_means(event: Event) -> None:
    assert [] == [name for name, meaning in event.fields.items() if not meaning.strip()]


@each
def test_no_field_hides_what_every_line_has(event: Event) -> None:
    assert set() == HEAD & set(event.fields)


@each
def test_no_field_invites_a_secret(event: Event) -> None:
    """L11: no phone, no message text, no URL; `to` is masked by whoever fills it in."""
    assert set() == {"phone", "message", "text", "url", "body", "payload"} & set(event.fields)


@each
def test_what_is_loud_says_what_to_do(event: Event) -> None:
    assert event.level != "error" or event.action != "Nothing."


@each
def test_an_event_is_told_with_its_fields_at_its_level(event: Event) -> None:
    values = sample(event)

    with capture_logs() as lines:
        event.log(**values)

    assert [{"event": event.name, "log_level": event.level, **values}] == lines


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
def test_the_alarms_are_errors(name: str) -> None:
    (level,) = {event.level for event in EVENTS if event.name == name}

    assert "error" == level
