"""What requests of machines hold, and how they are answered: JSON in, JSON out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sweeper import redact
from sweeper.errors import UsageError
from sweeper.postgres.clock import iso
from sweeper.queue.json_text import json_value
from sweeper.queue.wire import faults

Asked = TypeVar("Asked", bound=BaseModel)


def parsed(kind: type[Asked], body: bytes) -> Asked:
    """Return the request in *body*; raises UsageError for a value of another type."""
    try:
        return kind.model_validate(object_of(body), strict=True)
    except ValidationError as error:
        raise UsageError(faults(error)) from error


def object_of(body: bytes) -> dict[str, Any]:
    """Return the JSON object in *body*; raises UsageError where it holds none."""
    try:
        value = json_value(body.decode())
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not isinstance(value, dict):
        message = "the body is no JSON object"
        raise UsageError(message)
    return value


def queried(kind: type[Asked], request: Request) -> Asked:
    """Return what stands behind the question mark; raises UsageError where it is not *kind*."""
    try:
        return kind.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise UsageError(faults(error)) from error


def shown(value: Any) -> Any:
    """Return a document whose texts are masked; times are text, and what JSON has not is too."""
    match value:
        case datetime():
            return iso(value)
        case str():
            return redact.text(value)
        case Mapping():
            return {str(name): shown(inner) for name, inner in value.items()}
        case list() | tuple():
            return [shown(inner) for inner in value]
        case None | bool() | int() | float():
            return value
        case _:
            return redact.text(str(value))


def done(data: Mapping[str, Any]) -> Response:
    """Return the answer to a request that was carried out."""
    return JSONResponse({"success": True, "data": data})


def failed(status: int, error: str, **more: Any) -> Response:
    """Return the answer to a request that was not carried out."""
    return JSONResponse({"success": False, "error": error, **more}, status)
