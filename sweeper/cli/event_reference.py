"""The catalogue of events as others read it: a page for people, a JSON Schema for machines."""

import json
import sys
from collections.abc import Mapping
from typing import Any, get_args

from sweeper.events import CATALOGUE, LIBRARY_LOGGED, Event, Level

KINDS: Mapping[str, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "one of": {"type": "string"},
    "count": {"type": "integer", "minimum": 0},
    "id": {"type": "integer"},
    "rupiah": {"type": "integer"},
    "seconds": {"type": "number"},
    "milliseconds": {"type": "number"},
    "numbers": {"type": "object", "additionalProperties": {"type": "number"}},
    "flag": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
}
"""What a field may hold, in the catalogue's words, each with its unit."""

_HEAD = {
    "timestamp": {"type": "string", "format": "date-time"},
    "level": {"enum": list(get_args(Level))},
    "event": {"type": "string"},
    "instance": {"type": "string", "description": "host:process"},
}


def understood(words: str) -> tuple[str, bool, str]:
    """Return a field's kind, whether it may be null, and its meaning; see `Event.fields`."""
    before, colon, after = words.partition(": ")
    kind, null, _ = before.partition(" or null")
    return (kind, bool(null), after) if colon else ("text", False, words)


def page() -> str:
    """Return the catalogue as the Markdown page `docs/events.md`."""
    lines = [
        "# Events",
        "",
        "One line each, JSON on a pipe, colours on a terminal. Every line begins with `timestamp`",
        "(UTC), `level`, `event` and `instance` (host:process), then come the event's own fields.",
        "The two alarms that matter are the absence of `service.heartbeat` and any `job.dead`;",
        "`config/monitoring/` has these and five more ready-made.",
        "",
        "A field that may be null is there all the same. `config/monitoring/events.schema.json`",
        "says all this to machines. Both are generated from `sweeper/events.py` by `make docs`.",
    ]
    for event in CATALOGUE:
        lines += ["", f"## {event.name}", "", f"Level `{event.level}`. {event.action}", ""]
        lines += ["| field | holds | meaning |", "|---|---|---|"]
        for name, words in event.fields.items():
            kind, null, meaning = understood(words)
            lines.append(f"| `{name}` | {kind}{' or null' if null else ''} | {meaning} |")
    return "\n".join(lines)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a log line; every event has its own under `$defs`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A log line of the sweeper",
        "description": "Generated from sweeper/events.py by `make docs`.",
        "oneOf": [{"$ref": f"#/$defs/{event.name}"} for event in CATALOGUE],
        "$defs": {event.name: _line(event) for event in CATALOGUE},
    }


def _line(event: Event) -> dict[str, Any]:
    levels = {} if event is LIBRARY_LOGGED else {"level": {"const": event.level}}
    fields = {name: _field(words) for name, words in event.fields.items()}
    properties = _HEAD | levels | {"event": {"const": event.name}} | fields
    return {
        "description": event.action,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _field(words: str) -> dict[str, Any]:
    kind, null, meaning = understood(words)
    made = dict(KINDS[kind])
    if kind == "one of":
        made["enum"] = meaning.replace(" or ", ", ").split(", ") + [None] * null
    if null:
        made["type"] = [made["type"], "null"]
    return made | {"description": words}


if __name__ == "__main__":
    told = page() if sys.argv[1:] == ["page"] else json.dumps(schema(), indent=2)
    sys.stdout.write(f"{told}\n")
