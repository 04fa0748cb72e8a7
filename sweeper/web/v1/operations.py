"""The addresses of the API, as a table: a row here, and a method of `Readings` or `ApiV1`."""

from typing import Any

from pydantic import BaseModel

from sweeper.monitoring.acts import ActPage
from sweeper.monitoring.audit import Balance
from sweeper.monitoring.explain import Explanation
from sweeper.monitoring.status import Status
from sweeper.queue.pause import Pause
from sweeper.web.actions import PauseRequest, SweepRequest
from sweeper.web.documents import Done, Enqueued, Paused, Resumed, Swept
from sweeper.web.operation import Access, Operation
from sweeper.web.v1.documents import (
    Anomaly,
    Backlog,
    DeadLetter,
    Found,
    History,
    Page,
    Queues,
    Row,
    Rows,
    Scan,
    Sweep,
    Taken,
    Waiting,
    WholeDeadLetter,
)
from sweeper.web.v1.requests import (
    ActsQuery,
    AnomaliesQuery,
    DeadLetterChoice,
    DeadLettersQuery,
    EnqueueRequest,
    FindQuery,
    HistoryQuery,
    OverdueQuery,
    RowsQuery,
    SweepsQuery,
    WaitingQuery,
)

PREFIX = "/api/v1/"


def _read(
    path: str, name: str, summary: str, kind: Any, query: type[BaseModel] | None = None
) -> Operation:
    access, answers = Access.LOCAL_OR_TOKEN, {200: Done[kind]}
    return Operation(f"{PREFIX}{path}", name, summary, access, answers, query=query)


def _act(
    path: str, name: str, summary: str, kind: Any, body: type[BaseModel] | None = None
) -> Operation:
    access, answers, method = Access.TOKEN, {200: Done[kind]}, "POST" if body else "DELETE"
    return Operation(f"{PREFIX}{path}", name, summary, access, answers, method, body)


V1 = (
    _read("status", "status", "Queues, rules, dead letters", Status),
    _read("backlog", "backlog", "Who is late and why", Backlog),
    _read("queues", "queues", "How deep the queues are", Queues),
    _read("keys/{key}", "explain", "All that was decided about a key or code", Explanation),
    _read("sweeps", "sweeps", "The latest scans", Page[Scan, str], SweepsQuery),
    _act("sweeps", "new_sweep", "Scan now", Swept, SweepRequest),
    _read(
        "dead-letters",
        "dead_letters",
        "The newest dead letters",
        Page[DeadLetter, int],
        DeadLettersQuery,
    ),
    _read("dead-letters/{id}", "dead_letter", "One dead letter, with its body", WholeDeadLetter),
    _act(
        "dead-letters",
        "take_dead_letters",
        "Retry dead letters, or drop them: what is still due is found again",
        Taken,
        DeadLetterChoice,
    ),
    _read("pauses", "pauses", "What is paused", Page[Pause, str]),
    _act("pauses", "new_pause", "Pause a rule, a queue or everything", Paused, PauseRequest),
    _act("pauses/{target}", "end_pause", "Let it go on", Resumed),
    _act("jobs", "new_job", "Enqueue one job", Enqueued, EnqueueRequest),
    _read(
        "audit",
        "audit",
        "Whether a job was lost or done twice, in the newest part of the ledger",
        Balance,
    ),
    _read("acts", "acts", "What was done by hand", ActPage, ActsQuery),
    _read("history", "history", "How things went", History, HistoryQuery),
    _read("find", "find", "What a text may mean", Found, FindQuery),
    _read("sweeps/{sweep_id}", "sweep_by_id", "One sweep, with its jobs", Sweep),
    _read("waiting", "waiting", "The messages in the queues", Rows[Waiting], WaitingQuery),
    _read("overdue/{rule}", "overdue", "What a rule finds due", Rows[Row], OverdueQuery),
    _read(
        "anomalies/{rule}",
        "anomalies",
        "What looks due and must not be touched",
        Rows[Anomaly],
        AnomaliesQuery,
    ),
    _read("lists/{name}", "rows", "A list that a job file adds", Rows[Row], RowsQuery),
)
