"""Everything that is committed, read in one statement, so that it is one moment."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.support.verbs import DEAD, HIGH, LOW, OUTBOUND, QUEUE

_TABLES = {
    "notices": '"NotificationLog"',
    "sweeps": "sweeper.sweep",
    "endings": "sweeper.job_log",
}
_QUEUE = (
    "select queue, msg_id, read_ct, vt > clock_timestamp() as invisible, message from"
    " (select '{0}' as queue, msg_id, read_ct, vt, message from pgmq.q_{0}) as message"
)
_ALL = "select json_build_object({})".format(
    ", ".join(
        [f"'{name}', (select json_agg(one) from {table} as one)" for name, table in _TABLES.items()]
        + [
            f"'{name}', (select json_agg(one) from ({query}) as one)"
            for name, query in {
                "live": " union all ".join(map(_QUEUE.format, (HIGH, QUEUE, LOW, OUTBOUND))),
                "dead": _QUEUE.format(DEAD),
            }.items()
        ]
    )
)
_MANY = ("ORDER_EXPIRE_DP", "ORDER_AUTO_REFUND")

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows of all tables, and the messages: the live ones, and the dead letters."""

    notices: Rows
    sweeps: Rows
    endings: Rows
    live: Rows
    dead: Rows

    @classmethod
    def of(cls, session: psycopg.Connection[Any]) -> "Snapshot":
        """Read everything."""
        row = session.execute(_ALL).fetchone()
        assert row is not None
        found = cls(**{name: rows or [] for name, rows in row[0].items()})
        for message in found.live:
            message["weight"] = weight(message["message"])
        found.live.sort(key=lambda message: (message["queue"], message["msg_id"]))
        return found

    def ended(self, *outcomes: str, kind: str | None = None, key: str | None = None) -> int:
        """Return how many jobs ended so."""
        return sum(
            one["outcome"] in outcomes
            and (kind is None or one["job_type"] == kind)
            and (key is None or one["key"] == key)
            for one in self.endings
        )

    def swept(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Return the live jobs that a sweep sent, as (type, key, message)."""
        sent = {(one["id"], one["job_type"], key) for one in self.sweeps for key in one["keys"]}
        for message in self.live:
            body = message["message"]
            if isinstance(body, dict) and isinstance(body.get("payload"), dict):
                kind, key = str(body.get("type")), str(body["payload"].get("orderId"))
                if (body.get("sweepId"), kind, key) in sent:
                    yield kind, key, message


def weight(body: Any) -> int:
    """Return how many jobs a message is worth: one, or as many as it lists orders."""
    body = _opened(body)
    if not isinstance(body, dict) or body.get("type") not in _MANY:
        return 1
    payload = _opened(body.get("payload"))
    listed = payload.get("orderIds") if isinstance(payload, dict) else None
    return max(1, len(listed)) if isinstance(listed, list) else 1


def _opened(value: Any) -> Any:
    """Return what a string holds as JSON; any other value, and any other text, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
