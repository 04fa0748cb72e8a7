"""The event reference: the generated page and schema agree with the catalogue of events."""

import subprocess
import sys
from collections import defaultdict
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sweeper.cli import event_reference
from sweeper.event import Event
from tests.support.log_schema import EVENTS, SCHEMA, faults
from tests.support.paths import ROOT

LINE: dict[str, Any] = {
    "timestamp": "2026-01-31T12:00:00.123456Z",
    "level": "error",
    "event": "job.dead",
    "instance": "vm:1234",
    "type": "ORDER_EXPIRE_DP",
    "key": "c0",
    "msg_id": 7,
    "reason": "crashed",
    "attempts": 5,
    "error": "5 reads ended without a verdict",
    "alike": 0,
    "remedy": "sweeper dead list; docs/runbook.md#dead-letters",
}

each = pytest.mark.parametrize("event", [pytest.param(e, id=e.name) for e in EVENTS])


@pytest.mark.parametrize(
    ("form", "file"),
    [("page", "docs/events.md"), ("schema", "config/monitoring/events.schema.json")],
)
def test_the_generated_files_are_up_to_date(form: str, file: str) -> None:
    """Contract: `make docs` generates the file again."""
    command = [sys.executable, "-m", "sweeper.cli.event_reference", form]

    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout

    assert printed == (ROOT / file).read_text("utf-8")


def test_the_schema_is_a_valid_json_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@each
def test_every_field_has_a_kind_and_a_meaning(event: Event) -> None:
    parsed = [event_reference.parse_field(words) for words in event.fields.values()]

    assert [] == [kind for kind, _, _ in parsed if kind not in event_reference.KINDS]
    assert all(meaning for _, _, meaning in parsed)


def test_a_field_has_the_same_type_in_every_event() -> None:
    """Otherwise a log store that indexes fields by name drops the lines with the other type."""
    kinds = defaultdict(set)
    for event in EVENTS:
        for name, words in event.fields.items():
            kinds[name].add(event_reference.KINDS[event_reference.parse_field(words)[0]]["type"])

    assert {} == {name: found for name, found in kinds.items() if len(found) > 1}


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("one line", ("text", False, "one line")),
        ("count: rows that are due", ("count", False, "rows that are due")),
        ("text or null: job type", ("text", True, "job type")),
        ("one of: UP or DOWN", ("one of", False, "UP or DOWN")),
    ],
)
def test_the_description_of_a_field_is_parsed(written: str, parsed: tuple[str, bool, str]) -> None:
    assert parsed == event_reference.parse_field(written)


def test_a_line_that_follows_the_catalogue_is_valid() -> None:
    assert [] == faults(LINE)
    assert Draft202012Validator(SCHEMA).is_valid(LINE)


@pytest.mark.parametrize(
    "change",
    [
        {"level": "info"},
        {"event": "job.buried"},
        {"timestamp": "2026-01-31 12:00:00"},
        {"msg_id": "7"},
        {"msg_id": None},
        {"attempts": -1},
        {"attempts": True},
        {"reason": "tired"},
        {"reason": None},
        {"type": 1},
        {"remedy": "turn it off and on again"},
        {"shoe_size": 43},
    ],
    ids=str,
)
def test_a_line_that_breaks_the_catalogue_is_not_valid(change: dict[str, Any]) -> None:
    assert [] != faults(LINE | change)


def test_a_nullable_field_may_be_null() -> None:
    assert [] == faults(LINE | {"type": None, "key": None})


@pytest.mark.parametrize("name", LINE)
def test_every_field_is_required(name: str) -> None:
    assert 1 == len(faults({key: value for key, value in LINE.items() if key != name}))
