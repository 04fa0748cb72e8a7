"""Every log event: its name, its level, its fields, and what an operator does about it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import structlog

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the catalogue.

    fields -- what each field means, with its unit
    action -- what an operator does when it appears
    """

    name: str
    level: Level
    fields: Mapping[str, str]
    action: str = "Nothing."

    def tell(self, **values: Any) -> None:
        """Log the event; its fields are the catalogue's, no more and no fewer."""
        if values.keys() != self.fields.keys():
            odd = ", ".join(sorted(values.keys() ^ self.fields.keys()))
            message = f"{self.name} and the catalogue differ in {odd}"
            raise TypeError(message)
        getattr(_log, self.level)(self.name, **values)


_log = structlog.get_logger("sweeper")

SERVICE_STARTED = Event(
    "service.started",
    "info",
    {
        "version": "of the sweeper",
        "rules": "names of the rules that are on",
        "queue": "name of the queue for normal work",
    },
)
SERVICE_READY = Event("service.ready", "info", {"seconds": "from start to the first good scan"})
SERVICE_STOPPING = Event("service.stopping", "info", {"signal": "that asked for it"})
SERVICE_STOPPED = Event(
    "service.stopped",
    "info",
    {"uptime_seconds": "from start to stop", "clean": "whether all work ended within the grace"},
    "If not clean: what was running comes back by itself when its lease ends.",
)
SERVICE_HEARTBEAT = Event(
    "service.heartbeat",
    "info",
    {
        "status": "UP or DOWN",
        "uptime_seconds": "since the start",
        "active_jobs": "read and not yet settled, at this moment",
        "processed": "jobs done or skipped since the start",
        "failed": "executions that raised since the start",
        "queued": "messages that wait in all live queues; null while the database is away",
        "processing": "messages in flight in all live queues; null likewise",
        "dead": "dead letters; null likewise",
    },
    "Its absence is the alarm: the service hangs or is gone.",
)
SCAN_FINISHED = Event(
    "scan.finished",
    "info",
    {
        "rule": "name of the rule",
        "sweep_id": "of the sweep that it belongs to",
        "trigger": "schedule, manual or signal",
        "found": "rows that are due",
        "enqueued": "jobs sent",
        "already_queued": "rows whose job waits in a queue",
        "dead": "rows whose job is dead",
        "anomalies": "rows that look due and must not be touched",
        "duration_ms": "milliseconds",
    },
)
SCAN_BRAKED = Event(
    "scan.braked",
    "error",
    {
        "rule": "name of the rule",
        "sweep_id": "of the sweep that it belongs to",
        "found": "rows that are due",
        "limit": "safety.max_per_sweep, or --max",
    },
    "Look why so many are due (sweeper sweep --dry-run); if it is right: sweeper sweep --max N.",
)
SCAN_FAILED = Event(
    "scan.failed",
    "error",
    {"rule": "name of the rule", "error": "one line"},
    "The next tick tries again; if it goes on, run sweeper doctor.",
)
SCAN_MISSED = Event(
    "scan.missed",
    "warning",
    {"rule": "name of the rule", "due_at": "when it should have started"},
    "Nothing is lost, it is only late; if it goes on, this host is too busy.",
)
ORDER_ANOMALY = Event(
    "order.anomaly",
    "warning",
    {"rule": "name of the rule", "key": "whose row it is", "reason": "why it is left alone"},
    "Look at the order; the sweeper does not touch it.",
)
BATCH_DONE = Event(
    "batch.done",
    "info",
    {
        "type": "job type",
        "done": "keys whose effect was committed",
        "skipped": "keys that needed nothing",
        "postponed": "keys that wait for somebody else's lock",
        "duration_ms": "milliseconds",
    },
)
BATCH_SPLIT = Event(
    "batch.split",
    "warning",
    {"type": "job type", "size": "jobs in the batch that failed", "error": "one line"},
    "Nothing: the halves are tried apart, so that only the culprit fails.",
)
JOB_RETRIED = Event(
    "job.retried",
    "warning",
    {
        "type": "job type",
        "key": "whose job it is",
        "attempt": "the execution that raised, from 1",
        "delay_seconds": "until the next",
        "error": "one line",
    },
)
JOB_POSTPONED = Event(
    "job.postponed",
    "warning",
    {
        "type": "job type",
        "keys": "whose jobs they are",
        "delay_seconds": "until the next try",
        "error": "one line",
    },
    "Nothing: the database's trouble costs no attempt. If it goes on, look at the database.",
)
JOB_DEAD = Event(
    "job.dead",
    "error",
    {
        "type": "job type, null where it could not be read",
        "key": "whose job it is, null where it could not be read",
        "msg_id": "in the dead-letter queue",
        "reason": "exhausted, invalid, unknown_type, crashed or rejected",
        "attempts": "executions",
        "error": "one line",
    },
    "sweeper dead show ID; mend the cause, then sweeper dead retry ID, or sweeper dead drop ID.",
)
JOB_LOST = Event(
    "job.lost",
    "error",
    {
        "rule": "that found it; null where the sweep's own counts are off",
        "sweep_id": "of the sweep that sent it",
        "key": "whose job it is, null likewise",
        "problem": "one line",
    },
    "The audit says so: look at the order (sweeper explain KEY), and report it as a bug.",
)
JOB_MOVED = Event(
    "job.moved",
    "info",
    {"count": "messages", "source": "queue", "target": "queue, where their kind of work is done"},
)
LEASE_LOST = Event(
    "lease.lost",
    "warning",
    {"type": "job type", "keys": "whose jobs were settled by somebody else meanwhile"},
    "Nothing was done twice. If it goes on, raise queue.visibility.",
)
WORKER_FAILED = Event(
    "worker.failed",
    "error",
    {"lane": "database or outbound", "error": "one line"},
    "The messages come back when their lease ends; if it goes on, report it as a bug.",
)
LEASE_NOT_RENEWED = Event(
    "lease.not_renewed",
    "warning",
    {"count": "messages that were read and wait to be begun", "error": "one line"},
    "Nothing: whoever reads them next does them, once.",
)
NOTIFICATION_SENT = Event(
    "notification.sent",
    "info",
    {
        "key": "order or notice that it is about",
        "event_type": "what it tells",
        "to": "phone, masked",
        "provider": "that took it",
    },
)
NOTIFICATION_FAILED = Event(
    "notification.failed",
    "warning",
    {
        "key": "order or notice that it is about",
        "event_type": "what it should tell",
        "to": "phone, masked",
        "error": "one line",
    },
    "The order's change stands; tell the person in another way.",
)
DATABASE_LOST = Event(
    "database.lost",
    "error",
    {"error": "one line"},
    "The service waits and tries again by itself.",
)
DATABASE_RECOVERED = Event("database.recovered", "info", {"seconds": "that it was away"})
CLOCK_SKEWED = Event(
    "clock.skewed",
    "error",
    {"skew_ms": "this host ahead of the database, milliseconds", "allowed_ms": "milliseconds"},
    "No order is touched until the clocks agree; mend this host's or the server's time.",
)

CATALOGUE: tuple[Event, ...] = tuple(
    sorted((v for v in list(globals().values()) if isinstance(v, Event)), key=lambda e: e.name)
)


def page() -> str:
    """Return the catalogue as the Markdown page `docs/events.md`."""
    lines = [
        "# Events",
        "",
        "One line each, JSON on a pipe, colours on a terminal. Every line begins with `timestamp`",
        "(UTC), `level`, `event` and `instance` (host:process), then come the event's own fields.",
        "The two alarms that matter are the absence of `service.heartbeat` and any `job.dead`.",
        "",
        "This page is generated from `sweeper/events.py` by `make docs`.",
    ]
    for event in CATALOGUE:
        lines += ["", f"## {event.name}", "", f"Level `{event.level}`. {event.action}", ""]
        lines += ["| field | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {meaning} |" for name, meaning in event.fields.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page() + "\n")
