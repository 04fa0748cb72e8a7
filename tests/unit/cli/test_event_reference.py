"""The generated page and schema say what the catalogue says; the schema refuses what it must."""

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
}

each = pytest.mark.parametrize("event", [pytest.param(e, id=e.name) for e in EVENTS])


@pytest.mark.parametrize(
    ("face", "file"),
    [("page", "docs/events.md"), ("schema", "config/monitoring/events.schema.json")],
)
def test_what_is_generated_is_up_to_date(face: str, file: str) -> None:
    """Contract: `make docs` writes it anew."""
    command = [sys.executable, "-m", "sweeper.cli.event_reference", face]

    told = subprocess.run(command, capture_output=True, check=True, text=True).stdout

    assert told == (ROOT / file).read_text("utf-8")


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@each
def test_every_field_has_a_kind_and_a_meaning(event: Event) -> None:
    read = [event_reference.parse_field(words) for words in event.fields.values()]

    assert [] == [kind for kind, _, _ in read if kind not in event_reference.KINDS]
    assert all(meaning for _, _, meaning in read)


def test_a_field_is_of_one_kind_in_every_event() -> None:
    """Else a log store that indexes by name drops the lines that come second."""
    kinds = defaultdict(set)
    for event in EVENTS:
        for name, words in event.fields.items():
            kinds[name].add(event_reference.KINDS[event_reference.parse_field(words)[0]]["type"])

    assert {} == {name: found for name, found in kinds.items() if len(found) > 1}


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("one line", ("text", False, "one line")),
        ("count: rows that are due", ("count", False, "rows that are due")),
        ("text or null: job type", ("text", True, "job type")),
        ("one of: UP or DOWN", ("one of", False, "UP or DOWN")),
    ],
)
def test_a_field_is_read_as_it_is_written(words: str, read: tuple[str, bool, str]) -> None:
    assert read == event_reference.parse_field(words)


def test_a_line_as_promised_is_accepted() -> None:
    assert [] == faults(LINE)
    assert Draft202012Validator(SCHEMA).is_valid(LINE)


@pytest.mark.parametrize(
    "odd",
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
        {"shoe_size": 43},
    ],
    ids=str,
)
def test_a_line_otherwise_is_refused(odd: dict[str, Any]) -> None:
    assert [] != faults(LINE | odd)


def test_what_may_be_null_may() -> None:
    assert [] == faults(LINE | {"type": None, "key": None})


@pytest.mark.parametrize("name", LINE)
def test_every_field_is_required(name: str) -> None:
    assert 1 == len(faults({key: value for key, value in LINE.items() if key != name}))
