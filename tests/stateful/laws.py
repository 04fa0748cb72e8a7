"""The laws that hold at any moment, whatever was interrupted where: L1 to L3, L5, L7 and L8."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sweeper.monitoring.audit import Balance
from tests.stateful.past import Past
from tests.stateful.process import Process
from tests.stateful.snapshot import Snapshot
from tests.stateful.world import World
from tests.support.verbs import DEAD

NOTICES = ("ORDER_CANCELLED", "ORDER_REJECTED", "ORDER_MISSED")


def check(world: World, processes: Iterable[Process]) -> None:
    """Check every law that needs no rest."""
    found, past = world.snapshot(), world.past
    assert [] == world.wrong_effects()
    check_jobs(found, past)
    check_scans(found, past)
    check_leases(found, past, processes)
    check_notices(found, world)
    if not any(process.owes or process.walkers for process in processes):
        check_attempts(found, past)


def check_jobs(found: Snapshot, past: Past) -> None:
    """L2, L8: each job that was ever sent waits once, or its end is in the ledger once."""
    notices = sum(
        one["eventType"] in NOTICES and one["status"] != "suppressed" for one in found.notices
    )
    sent = past.sent + notices + sum(one["enqueued"] for one in found.sweeps)
    ended = found.ended("done", "skipped", "dead") - found.ended("revived")
    waiting = sum(message["weight"] for message in found.live)
    assert sent == ended + waiting, "jobs that were sent, and those that ended or wait"
    letters = past.letters + found.ended("dead") - found.ended("revived", "dropped")
    assert letters == len(found.dead), "jobs that died, and the dead letters"


def check_scans(found: Snapshot, past: Past) -> None:
    """L7, L8: each scan's counts add up, the brake held, and no job was sent beside another."""
    for one in found.sweeps:
        counts = [one[name] for name in ("enqueued", "already_queued", "dead", "braked")]
        assert one["found"] == sum(counts)
        assert one["enqueued"] == len(one["keys"]) == len(set(one["keys"]))
        if one["found"] > int(one["actor"]):
            assert one["enqueued"] == 0, "the brake did not hold"
    jobs = Counter((kind, key) for kind, key, _ in found.swept())
    twice = {job: times for job, times in jobs.items() if times > 1 + past.copies[job]}
    assert {} == twice, "two scans sent the same job"


def check_leases(found: Snapshot, past: Past, processes: Iterable[Process]) -> None:
    """L1: nobody makes a message visible that another worker holds under a lease."""
    messages = {(one["queue"], one["msg_id"]): one for one in found.live}
    for process in processes:
        for queue, msg_id, read_ct in process.held():
            message = messages.get((queue, msg_id))
            if message and (queue, msg_id, read_ct) not in past.expired:
                seen = message["read_ct"], message["invisible"]
                assert (read_ct, True) == seen, f"message {msg_id} of {queue} lost its lease"


def check_attempts(found: Snapshot, past: Past) -> None:
    """L5: nothing is charged for what no job did: a crash, a stop, a lock, a lost connection."""
    for message in found.live:
        assert message["read_ct"] <= past.crashes, f"a crash was counted: {message}"
    for kind, key, job in found.swept():
        if key not in past.broken:
            assert not job["message"]["retryCount"], f"{kind} {key} was charged"
    for one in found.endings:
        if one["outcome"] == "dead" and one["reason"] == "crashed":
            assert past.crashes >= CRASH_LIMIT, f"{one['key']} died as crashed"
        if one["job_type"].startswith("ORDER_") and one["key"] not in past.broken:
            assert one["attempt"] <= 1 or one["reason"] == "crashed", f"{one['key']} was charged"


def check_notices(found: Snapshot, world: World) -> None:
    """L1, L2: each notice that waits has a message, and is sent once, or twice in doubt."""
    carried = Counter[str]()
    for message in (*found.live, *found.dead):
        body: Any = message["message"]
        if message["queue"] == DEAD and isinstance(body, dict):
            body = body.get("body")
        if isinstance(body, dict) and isinstance(body.get("payload"), dict):
            carried[str(body["payload"].get("messageId"))] += 1
    for one in found.notices:
        waits = one["status"] in ("queued", "sending") and one["eventType"] in NOTICES
        assert not waits or carried[one["id"]] or world.past.dropped, f"lost notice {one['id']}"
    buyers = Counter(one["recipientId"] for one in found.notices)
    sent = Counter(message.to for message in world.provider.deliveries)
    most = 2 if world.past.uncertain else 1
    assert sum(sent.values()) <= most * sum(buyers.values()), "a notice was sent too often"


def is_rest(found: Snapshot) -> bool:
    """Return whether no job waits, and the last two scans, of both rules, found no order."""
    return not found.live and not any(one["found"] for one in found.sweeps[-2:])


def check_rest(world: World, balance: Balance) -> None:
    """L2, L8: at rest no job waits, no order is due, and the oracle and the audit agree."""
    found, past = world.snapshot(), world.past
    assert is_rest(found), f"jobs still wait, or orders are due: {found.live}"
    assert (0, ()) == (balance.waiting, balance.gaps)
    if past.dropped:  # a request for stock may be among what was dropped
        return
    excused = past.failing or past.uncertain
    wrong = world.differences()
    assert [] == [one for one in wrong if not (excused and one.endswith("is failed"))]


CRASH_LIMIT = 3
