"""JSON text of others: parsed where Python and Postgres can both hold it, or passed through."""

import json
import math
import re
from typing import Any

_NOT_ASCII = re.compile(r"[^\x20-\x7e\t\n\r]")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SHALLOW = 50


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        message = f"{text[:20]} is not a number that JSON can hold"
        raise ValueError(message)
    return number


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def json_value(text: str) -> Any:
    """Parse JSON; raises ValueError where it is not valid, or Postgres cannot store its value."""
    # What cannot be stored hides behind an escape, or is nested too deep to be written again.
    to_write = "\\u" in text or text.count("[") + text.count("{") > _SHALLOW
    try:
        value = _DECODER.decode(text)
        written_back = json.dumps(value, ensure_ascii=False) if to_write else text
        written_back.encode()
    except (ValueError, RecursionError) as error:
        message = f"no JSON that can be worked with ({type(error).__name__})"
        raise ValueError(message) from error
    if to_write and _NUL.search(written_back):
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
