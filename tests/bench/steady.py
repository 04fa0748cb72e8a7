"""The service under a steady load: how long each message waits for its effect."""

import subprocess
import sys
import time
from statistics import quantiles
from threading import Event
from typing import Any

import psycopg

from tests.bench.engine import DEFAULTS
from tests.bench.processes import environment
from tests.bench.server import Server
from tests.support.paths import ROOT

EVERY = 0.02  # seconds between two messages
_WARM_UP = 25  # messages that are not measured: the service starts meanwhile
_PATIENCE = 60.0

_IDS = """select id from "Order" order by id"""
_SEND = """
    select pgmq.send('jastipin_jobs'::text, jsonb_build_object(
        'type', 'ORDER_EXPIRE_DP', 'payload', jsonb_build_object('orderId', %s::text),
        'retryCount', 0, 'maxRetries', 3, 'createdAt', now()), 0)
"""
_CANCELLED = """select from "Order" where status = 'cancelled'"""
_DONE = """
    select id, extract(epoch from pg_xact_commit_timestamp(xmin))::float8 from "Order"
"""


def latencies(server: Server, messages: int) -> tuple[float, float]:
    """Send *messages* to `sweeper run`, one at a time; return p50 and p99 in seconds.

    A message's time is from its sending to the commit of its effect.
    """
    with server.copy(messages + _WARM_UP) as url:
        service = _start(url)
        try:
            sent, done = _send(server, url)
        finally:
            service.terminate()
            service.wait(timeout=30)
    waited = [done[order] - at for order, at in [*sent.items()][_WARM_UP:]]
    percents = quantiles(waited, n=100, method="inclusive")
    return percents[49], percents[98]


def _start(url: str) -> "subprocess.Popen[bytes]":
    """Start the service at its defaults, without its page and without rules of its own."""
    changed = {
        "DATABASE_URL": url,
        "SWEEPER_CONFIG": str(DEFAULTS),
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
        "SWEEPER_WEB__ENABLED": "false",
        "SWEEPER_RULES__EXPIRE_DP__ENABLED": "false",
        "SWEEPER_RULES__AUTO_REFUND__ENABLED": "false",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "sweeper", "run"],
        env=environment() | changed,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )


def _send(server: Server, url: str) -> tuple[dict[str, float], dict[str, float]]:
    """Send a message for each order, and return when each was sent, and when it was done."""
    sent = dict[str, float]()
    with server.session(url) as session:
        for n, (order,) in enumerate(session.execute(_IDS).fetchall()):
            if n == _WARM_UP:
                _wait_for(session, len(sent))
            sent[order] = time.time()
            session.execute(_SEND, [order])
            Event().wait(max(0.0, sent[order] + EVERY - time.time()))
        _wait_for(session, len(sent))
        return sent, dict(session.execute(_DONE).fetchall())


def _wait_for(session: psycopg.Connection[Any], orders: int) -> None:
    """Wait until so many orders are done."""
    end = time.monotonic() + _PATIENCE
    while session.execute(_CANCELLED).rowcount < orders:
        if time.monotonic() > end:
            message = "the service does not work off its queue"
            raise RuntimeError(message)
        Event().wait(0.05)
