"""A JSON Schema in words: what a value holds, and within which bounds."""

from collections.abc import Mapping
from typing import Any

from tests.docs.markdown import code, either

Schema = Mapping[str, Any]

_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "null": "null",
}
_SEVERAL = {
    "a duration": "durations",
    "a number": "numbers",
    "a whole number": "whole numbers",
    "an object": "objects",
    "text": "texts",
}
_FORMATS = {
    "date-time": "a time",
    "uuid": "a UUID",
    "password": "a secret",
    "path": "a path",
}

_LARGEST = 2**63 - 1  # what a database can count; nobody needs to be told


def holds(schema: Schema, linked: Mapping[str, str] | None = None) -> str:
    """Return what *schema* allows, in a few words.

    linked -- the name of a schema that is referred to -> how it stands in the text
    """
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            words = (linked or {}).get(name, name)
        case {"const": value}:
            words = code(value)
        case {"enum": values}:
            words = either([code("null" if one is None else one) for one in values])
        case {"anyOf": several} | {"oneOf": several} | {"allOf": several}:
            words = either(list(dict.fromkeys(holds(one, linked) for one in several)))
        case {"type": "array", "prefixItems": items}:
            words = f"a list of {', '.join(holds(one, linked) for one in items)}"
        case {"type": "array"}:
            one = holds(schema.get("items", {}), linked)
            words = f"a list of {_SEVERAL.get(one, one)}"
        case {"type": "object", "additionalProperties": dict() as each}:
            words = f"an object of names, each with {holds(each, linked)}"
        case _ if is_duration(schema):
            words = "a duration"
        case {"format": kind} if kind in _FORMATS:
            words = _FORMATS[kind]
        case _:
            words = _KINDS.get(schema.get("type", ""), "any JSON") + _bounds(schema)
    return words


def is_duration(schema: Schema) -> bool:
    """Return whether *schema* is that of a duration, like 90m or 2h."""
    return bool(schema.get("examples") == ["90m", "2h"])


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    high = None if high is not None and high >= _LARGEST else high
    bounds = [
        f"above {schema['exclusiveMinimum']:,}" if "exclusiveMinimum" in schema else "",
        f"{low:,} to {high:,}" if low is not None and high is not None else "",
        f"at least {low:,}" if low is not None and high is None else "",
        f"at most {high:,}" if high is not None and low is None else "",
        f"at most {schema['maxLength']:,} characters" if "maxLength" in schema else "",
        f"as `{schema['pattern']}`" if "pattern" in schema else "",
    ]
    return "".join(f", {bound}" for bound in bounds if bound)
