"""The platform's own worker, as far as it is known: what it writes, and how it reads."""

import json
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from sweeper.app import App
from tests.support.verbs import QUEUE, send_raw

MAX_RETRIES = {
    "ORDER_EXPIRE_DP": 3,
    "ORDER_AUTO_REFUND": 3,
    "STOCK_RELEASE": 2,
    "NOTIFICATION_SEND_WHATSAPP": 3,
}
DELAYS = 5, 30, 300  # seconds
_CREATED_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class UnreadableError(Exception):
    """The old worker would not understand this body."""


@dataclass(frozen=True, slots=True)
class OldJob:
    """A body as the old worker understands it; what it does not know is dropped."""

    type: str
    order_ids: tuple[str, ...]
    retry_count: int
    max_retries: int
    created_at: str
    last_error: str | None


def understood(body: Any) -> OldJob:
    """Return how the old worker reads *body*.

    It is stricter here than it may be in truth, where a number in a string counts too: what we
    write must need no leniency. Raises UnreadableError.
    """
    if not isinstance(body, dict) or body.get("type") not in MAX_RETRIES:
        raise UnreadableError(body)
    payload = body.get("payload")
    counts = body.get("retryCount", 0), body.get("maxRetries", MAX_RETRIES[body["type"]])
    created, error = body.get("createdAt"), body.get("lastError")
    if (
        not isinstance(payload, dict)
        or not all(type(count) is int and count >= 0 for count in counts)
        or not (isinstance(created, str) and _CREATED_AT.fullmatch(created))
        or not (error is None or isinstance(error, str))
    ):
        raise UnreadableError(body)
    ids = payload.get("orderIds", [payload["orderId"]] if "orderId" in payload else [])
    if not all(isinstance(one, str) for one in ids):
        raise UnreadableError(body)
    return OldJob(body["type"], tuple(ids), *counts, created, error)


class OldWorker:
    """Works one message after another off the queue that both share, and knows no other queue.

    What it does to an order is less than it does in truth: it ends the order, by id.
    """

    def __init__(self, app: App, platform: Connection) -> None:
        self._app = app
        self._platform = platform
        self.ended: list[str] = []

    def step(self, *, fails: bool = False) -> bool:
        """Do the job of one visible message, or fail at it; return whether there was one."""
        reading = "select msg_id, message from pgmq.read(cast(:queue as text), 30, 1)"
        for msg_id, body in self._platform.execute(text(reading), {"queue": QUEUE}).all():
            job = understood(body)
            if fails:
                self._send_again(body, job)
            else:
                self._end(job)
            deleting = "select pgmq.delete(cast(:queue as text), cast(:id as bigint))"
            self._platform.execute(text(deleting), {"queue": QUEUE, "id": msg_id})
            return True
        return False

    def _send_again(self, body: dict[str, Any], job: OldJob) -> None:
        again = body | {"retryCount": job.retry_count + 1, "lastError": "P2034: deadlock"}
        sending = (
            "select pgmq.send(cast(:queue as text), cast(:body as jsonb), cast(:delay as integer))"
        )
        delay = DELAYS[min(job.retry_count, len(DELAYS) - 1)]
        values = {"queue": QUEUE, "body": json.dumps(again), "delay": delay}
        self._platform.execute(text(sending), values)

    def _end(self, job: OldJob) -> None:
        ending = text(
            'update "Order" set status = \'cancelled\', "updatedAt" = now()'
            " where id = any(:ids) and status = 'pending_dp' returning id"
        )
        self.ended += self._platform.execute(ending, {"ids": list(job.order_ids)}).scalars()


def written(kind: str, payload: Any, **fields: Any) -> dict[str, Any]:
    """Return a body as the old worker writes it; an ellipsis leaves a field out."""
    usual = {
        "type": kind,
        "payload": payload,
        "retryCount": 0,
        "maxRetries": MAX_RETRIES.get(kind, 3),
        "createdAt": "2026-01-31T11:58:00.000Z",
    }
    return {name: value for name, value in (usual | fields).items() if value is not ...}


def put(app: App, body: Any, *, queue: str = QUEUE) -> int:
    """Send *body* as the platform does; return the message's id."""
    return send_raw(app, json.dumps(body), queue=queue)
