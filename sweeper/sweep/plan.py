"""A plan: the keys that a dry run found due, for a later sweep of these keys and no others."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, text

from sweeper.catalog import Catalog
from sweeper.durations import format_duration
from sweeper.errors import UsageError
from sweeper.postgres.clock import now
from sweeper.queue.json_text import json_value
from sweeper.queue.wire import faults

# Identifies the cluster and the database; a file-level copy has the same id, a restored dump not.
_PLACE = text(
    "select concat(system_identifier, '/', oid)"
    " from pg_control_system(), pg_database where datname = current_database()"
)


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True)

    orders: Sequence[str]


class Plan(BaseModel):
    """The fields of a dry run's JSON document that `sweep --plan` reads; the rest is for people.

    at       -- when the dry run was made
    database -- the database on which it was made, as `place` identifies it
    limit    -- the limit of the brake: the maximum number of rows for each rule
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
        """The keys that may be enqueued, by rule."""
        return {name: rule.orders for name, rule in self.rules.items()}

    def check(self, tx: Connection, catalog: Catalog, longest: timedelta) -> None:
        """Raise UsageError if it is for another database or unknown rules, or is too old."""
        for name in self.rules:
            catalog.rule(name)
        if self.database != place(tx):
            message = (
                "the plan was made on another database; "
                "make one here: sweeper sweep --dry-run --json"
            )
            raise UsageError(message)
        age = now() - self.at
        if not -longest <= age <= longest:
            message = (
                f"the plan was made at {self.at:%Y-%m-%d %H:%M:%S} UTC, and a plan holds for "
                f"{format_duration(longest)} (safety.max_plan_age); "
                "make a new one: sweeper sweep --dry-run --json"
            )
            raise UsageError(message)


def with_checksum(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return *document* with a checksum, by which `parse_plan` detects changes."""
    return {**document, "checksum": _checksum(document)}


def parse_plan(raw: str) -> Plan:
    """Parse *raw* as a plan; raises UsageError if it is not a valid plan, or was changed."""
    try:
        document = json_value(raw)
    except ValueError as error:
        message = f"the plan is not JSON, or is cut off: {error}"
        raise UsageError(message) from error
    if not isinstance(document, dict) or "checksum" not in document:
        message = "this is not a valid plan; `sweeper sweep --dry-run --json` makes one"
        raise UsageError(message)
    if document.pop("checksum") != _checksum(document):
        message = "the plan was changed since `sweeper sweep --dry-run --json` made it"
        raise UsageError(message)
    try:
        return Plan.model_validate(document)
    except ValidationError as error:
        message = f"this is not a valid plan of this version: {faults(error)}"
        raise UsageError(message) from error


def place(tx: Connection) -> str:
    """Return an identifier of the connected database, the same for every host and login."""
    return str(tx.execute(_PLACE).scalar_one())


def _checksum(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the content of *document*, independent of layout and key order."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
