"""A dry run as a plan: which orders a person has looked at, to be swept if they are still due."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, text

from sweeper.durations import format_duration
from sweeper.errors import UsageError
from sweeper.queue.wire import faults, json_value

# One cluster and one database in it; a copy of the files is the same, a restored dump is not.
_PLACE = text(
    "select concat(system_identifier, '/', oid)"
    " from pg_control_system(), pg_database where datname = current_database()"
)


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True)

    orders: Sequence[str]


class Plan(BaseModel):
    """What `sweep --plan` reads of a dry run's document; the rest is for people.

    at       -- when it was made
    database -- where it was made, as `place` tells
    limit    -- the brake that was answered with it
    """

    model_config = ConfigDict(frozen=True)

    sweep_id: str
    dry_run: Literal[True]
    at: AwareDatetime
    database: str
    limit: Annotated[int, Field(ge=1)]
    rules: Mapping[str, _Rule]

    @property
    def planned(self) -> dict[str, Sequence[str]]:
        """The keys that may be touched, by rule."""
        return {name: rule.orders for name, rule in self.rules.items()}

    def demand(self, place: str, now: datetime, longest: timedelta) -> None:
        """Raise UsageError where the plan is of another database, or older than *longest*."""
        if self.database != place:
            message = "the plan was made on another database; make one here: sweep --dry-run"
            raise UsageError(message)
        age = now - self.at
        if not -longest <= age <= longest:
            message = (
                f"the plan was made at {self.at:%Y-%m-%d %H:%M:%S} UTC, and a plan holds for "
                f"{format_duration(longest)} (safety.max_plan_age); make a new one: sweep --dry-run"
            )
            raise UsageError(message)


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return *document* with a checksum, which tells later whether it is whole."""
    return {**document, "checksum": _checksum(document)}


def parse_plan(raw: str) -> Plan:
    """Return the plan that *raw* holds; raises UsageError where it is none, or damaged."""
    try:
        document = json_value(raw)
    except ValueError as error:
        message = f"the plan is not JSON, or is cut off: {error}"
        raise UsageError(message) from error
    if not isinstance(document, dict) or "checksum" not in document:
        message = "this is no plan; `sweeper sweep --dry-run --json` makes one"
        raise UsageError(message)
    if document.pop("checksum") != _checksum(document):
        message = "the plan was changed since `sweeper sweep --dry-run --json` made it"
        raise UsageError(message)
    try:
        return Plan.model_validate(document)
    except ValidationError as error:
        message = f"this is no plan of this version: {faults(error)}"
        raise UsageError(message) from error


def place(tx: Connection) -> str:
    """Return what is the same for one database wherever it is reached from."""
    return str(tx.execute(_PLACE).scalar_one())


def _checksum(document: Mapping[str, Any]) -> str:
    """Return the digest of what *document* says, however it is laid out."""
    said = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()
