"""The three JSON documents that the platform's dashboards read."""

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sweeper.ledger import Completed
from sweeper.monitoring.stats import Stats
from sweeper.monitoring.status import Status
from sweeper.postgres.clock import iso
from sweeper.queue.inspect import Depth
from sweeper.web import documents


def stats(status: Status, completed: Completed, stats: Stats) -> documents.Stats:
    """Return the data of /api/monitoring/queue/stats, without `oldestJob` if no job waits."""
    oldest = _oldest(status)
    queued, processing = _depths(status)
    queue: documents.QueueTotals = {
        "totalQueued": queued,
        "totalProcessing": processing,
        "totalFailed": status.dead.count,
        "totalCompleted": completed.jobs,
        "completedIsCapped": completed.is_capped,
        "avgProcessingTime": round(stats.average_ms, 3),
    }
    if oldest:
        queue["oldestJob"] = _job(status, oldest)
    return {"queue": queue, "timestamp": status.at}


def health(status: Status | None, stats: Stats, *, running: bool, at: str) -> documents.Health:
    """Return the data of /api/monitoring/queue/health, except `overall`.

    status  -- None while the database cannot be read; the numbers of the queue are then null
    running -- whether the service's loops run
    at      -- the current time, used if there is no status
    """
    worked = stats.processed + stats.failed
    rate = 100 * stats.processed / worked if worked else 100.0
    oldest = _oldest(status) if status else None
    queued, processing = _depths(status) if status else (None, None)
    return {
        "database": {
            "status": "up" if status else "down",
            "timestamp": status.at if status else at,
        },
        "worker": {
            "status": "running" if running else "stopped",
            "uptime": round(stats.uptime),
            "activeJobs": stats.active(),
            "totalProcessed": stats.processed,
            "totalFailed": stats.failed,
            "successRate": f"{rate:.2f}",
            "pid": os.getpid(),
        },
        "queue": {
            "totalQueued": queued,
            "totalProcessing": processing,
            "oldestJobAge": round(oldest.oldest_ready_seconds) if oldest else None,
        },
    }


def info(
    status: Status, completed: Completed, stats: Stats, *, name: str, running: bool
) -> documents.Info:
    """Return the data of /api/monitoring/queue/info; *name* is the name of the normal queue."""
    (queued, processing), oldest = _depths(status), _oldest(status)
    job = _job(status, oldest) if oldest else None
    return {
        "queueName": name,
        "queued": queued,
        "processing": processing,
        "failed": status.dead.count,
        "completed": completed.jobs,
        "completedIsCapped": completed.is_capped,
        "avgProcessingTime": f"{stats.average_ms:.0f}ms",
        "worker": {
            "running": running,
            "uptime": f"{stats.uptime:.0f}s",
            "activeJobs": stats.active(),
            "processedTotal": stats.processed,
            "failedTotal": stats.failed,
        },
        "oldestJob": job
        and {
            "id": job["id"],
            "retries": job["retryCount"],
            "ageSeconds": round(oldest.oldest_ready_seconds) if oldest else None,
        },
        "timestamp": status.at,
    }


def _depths(status: Status) -> tuple[int, int]:
    """Return how many messages wait, and how many are in flight."""
    queues = status.queues.values()
    waiting = sum(depth.ready + depth.delayed for depth in queues)
    return waiting, sum(depth.in_flight for depth in queues)


def _oldest(status: Status) -> Depth | None:
    """Return the depth of the queue whose oldest ready message has waited longest; None if none."""
    waiting = [depth for depth in status.queues.values() if depth.oldest_ready]
    return max(waiting, key=lambda depth: depth.oldest_ready_seconds, default=None)


def _job(status: Status, depth: Depth) -> documents.Job:
    first: Mapping[str, Any] = depth.oldest_ready or {}
    retries = first.get("retry_count")
    sent = datetime.fromisoformat(status.at) - timedelta(seconds=depth.oldest_ready_seconds)
    return {
        "id": first["msg_id"],
        "createdAt": iso(sent),
        "retryCount": retries if isinstance(retries, int) else 0,
    }
