"""Every event that the engine logs: its name, level and fields, and what an operator does."""

from sweeper import remedies
from sweeper.event import Event

SERVICE_STARTED = Event(
    "service.started",
    "info",
    {
        "version": "of the sweeper",
        "rules": "texts: names of the rules that are on",
        "queue": "name of the queue for normal work",
    },
)
SERVICE_READY = Event(
    "service.ready",
    "info",
    {"seconds": "seconds: from the first good answer of the database to the first good scan"},
)
SERVICE_STOPPING = Event("service.stopping", "info", {"signal": "that asked for it"})
SERVICE_STOPPED = Event(
    "service.stopped",
    "info",
    {
        "uptime_seconds": "seconds: from start to stop",
        "clean": "flag: whether all work ended within the grace",
    },
    "If not clean: what was running comes back by itself when its lease ends.",
)
SERVICE_HEARTBEAT = Event(
    "service.heartbeat",
    "info",
    {
        "status": "one of: UP, STARTING or DOWN",
        "uptime_seconds": "seconds: since the start",
        "active_jobs": "count: jobs read and not yet settled, at this moment",
        "processed": "count: jobs done or skipped since the start",
        "failed": "count: executions that raised since the start",
        "queued": "count or null: messages that wait in all live queues; null without database",
        "processing": "count or null: messages in flight in all live queues; null likewise",
        "dead": "count or null: dead letters; null likewise",
        "hidden": "count or null: messages hidden for longer than any delay; null likewise",
        "oldest_waiting_seconds": "seconds or null: the longest that any message waits to be read",
        "oldest_overdue_seconds": "seconds or null: the longest that any row is beyond its limit",
        "paused": "texts or null: rules and queues that operators have paused",
        "figures": "numbers or null: the job files' own, as the metrics have them",
        "reasons": "texts: why it does not do its work; none where it is UP",
    },
    "Its absence is the alarm: the service hangs or is gone.",
)
SERVICE_PAUSED = Event(
    "service.paused",
    "warning",
    {
        "target": "rule, queue or everything",
        "ends_at": "time or null: when it ends by itself; null if only resume ends it",
        "actor": "who paused it",
        "reason": "why",
    },
    "What is due waits meanwhile; sweeper resume TARGET lets it go on.",
    remedies.PAUSED,
)
SERVICE_RESUMED = Event(
    "service.resumed", "info", {"target": "rule, queue or everything that goes on"}
)
READINESS_LOST = Event(
    "readiness.lost",
    "warning",
    {"reasons": "texts: what was not done, or not in time"},
    "Look at what was logged before it; the service goes on trying. If it lasts: sweeper doctor.",
    remedies.NOT_READY,
)
READINESS_REGAINED = Event(
    "readiness.regained", "info", {"seconds": "seconds: that the service was not ready"}
)
LOOP_STALLED = Event(
    "loop.stalled",
    "error",
    {
        "loops": "texts: what has not come back within all its timeouts",
        "stacks": "texts: where each thread stands, the innermost call last",
    },
    "The watchdog is no longer fed: systemd restarts the service. If it happens again, report it.",
    remedies.PROCESS_FROZEN,
)
HEARTBEAT_FAILED = Event(
    "heartbeat.failed",
    "warning",
    {"error": "why service.heartbeat_url could not be told"},
    "The work goes on; look at the monitor behind service.heartbeat_url, and the way to it.",
    remedies.MONITOR_AWAY,
)
STATUS_FAILED = Event(
    "status.failed",
    "error",
    {"error": "why the heartbeat could not read the status, in one line"},
    "The work may go on all the same; if this does too, look for long locks on the queues' tables.",
    remedies.TABLE_LOCKED,
)
WATCH_FAILED = Event(
    "watch.failed",
    "error",
    {"error": "why the watch could not look at the queues, in one line"},
    "It looks again at once; if it goes on, look for long locks on the queues' tables.",
    remedies.TABLE_LOCKED,
)
HINT_GAINED = Event(
    "hint.gained",
    "info",
    {"poll_seconds": "seconds: between two looks at the queues when there is no work"},
)
HINT_LACKED = Event(
    "hint.lacked",
    "info",
    {"reason": "why no notifications of new messages can come"},
    "Nothing: the queues are polled, every queue.poll_max. sweeper doctor says more.",
)
HINT_LOST = Event(
    "hint.lost",
    "warning",
    {"reason": "why notifications of new messages come no more, in one line"},
    "Nothing: the queues are polled, and the hint is tried again, in the end every five minutes.",
)
BACKLOG_INCREASED = Event(
    "backlog.increased",
    "warning",
    {
        "queue": "whose backlog it is",
        "waiting": "count: messages that wait now",
        "waited": "count: those 15 minutes ago; since then there were more after each 5 minutes",
    },
    "More is sent than done. See whether jobs fail, and what takes long; a burst ends by itself.",
    remedies.BACKLOG_GROWS,
)
MESSAGE_WAITED = Event(
    "message.waited",
    "warning",
    {"queue": "in which it waits", "seconds": "seconds: that the oldest message has waited"},
    "Told once, until the queue is read again. See what keeps its messages from being read.",
    remedies.MESSAGE_WAITS,
)
HISTORY_FAILED = Event(
    "history.failed",
    "error",
    {"error": "one line"},
    "The ledger keeps more than it must; the next hour tries again. If it goes on: sweeper doctor.",
    remedies.HISTORY_NOT_PRUNED,
)
HISTORY_UNRECORDED = Event(
    "history.unrecorded",
    "warning",
    {"error": "one line"},
    "Nothing is lost: the next minute counts what is missing in the pictures, but what was sampled"
    " stays a gap. If it goes on: sweeper doctor.",
    remedies.HISTORY_NOT_RECORDED,
)
HISTORY_PRUNED = Event(
    "history.pruned",
    "info",
    {
        "before": "time: what is older was deleted, see history.keep",
        "sweeps": "count: rows of sweeper.sweep",
        "jobs": "count: rows of sweeper.job_log",
        "acts": "count: rows of sweeper.act",
    },
)
DEAD_PURGED = Event(
    "dead.purged",
    "info",
    {
        "before": "time: the dead letters that died until then were dropped",
        "letters": "count: how many there were; the ledger names them",
    },
    "Nothing, if history.keep_dead or whoever purged meant it; what is still due is found again.",
)
SCAN_FINISHED = Event(
    "scan.finished",
    "info",
    {
        "rule": "name of the rule",
        "sweep_id": "of the sweep that it belongs to",
        "trigger": "one of: schedule, manual or signal",
        "found": "count: rows that are due",
        "enqueued": "count: jobs sent",
        "already_queued": "count: rows whose job waits in a queue",
        "dead": "count: rows whose job is dead",
        "anomalies": "count: rows that look due and must not be touched; 1,000 for as many or more",
        "duration_ms": "milliseconds: from beginning to commit",
    },
)
SCAN_BRAKED = Event(
    "scan.braked",
    "error",
    {
        "rule": "name of the rule",
        "sweep_id": "of the sweep that it belongs to",
        "found": "count: rows that are due",
        "limit": "count: safety.max_per_sweep, or --max",
    },
    "Look why so many are due (sweeper sweep --dry-run); if it is right: sweeper sweep --max N.",
    remedies.BRAKE_HELD,
)
SCAN_FAILED = Event(
    "scan.failed",
    "error",
    {"rule": "name of the rule", "error": "one line"},
    "The next tick tries again; if it goes on, run sweeper doctor.",
    remedies.SCAN_FAILED,
)
SCAN_MISSED = Event(
    "scan.missed",
    "warning",
    {"rule": "name of the rule", "due_at": "time: when it should have started"},
    "Nothing is lost, it is only late; if it goes on, this host is too busy.",
    remedies.HOST_BUSY,
)
ORDER_ANOMALY = Event(
    "order.anomaly",
    "warning",
    {"rule": "name of the rule", "key": "whose row it is", "reason": "why it is left alone"},
    "Look at the order; the sweeper does not touch it.",
    remedies.LEFT_ALONE,
)
MESSAGE_HIDDEN = Event(
    "message.hidden",
    "error",
    {
        "count": "count: live messages that become visible too late, up to 1,000 of each queue",
        "horizon_seconds": "seconds: beyond which no message counts as already queued",
        "messages": "texts: queue and id of the first twenty in each queue",
    },
    "Scans do not wait for them. See who sent them; delete those that nobody wants.",
    remedies.HIDDEN_MESSAGES,
)
BATCH_DONE = Event(
    "batch.done",
    "info",
    {
        "type": "job type",
        "done": "texts: keys whose effect was committed",
        "skipped": "texts: keys that needed nothing",
        "postponed": "texts: keys that wait for somebody else's lock",
        "duration_ms": "milliseconds: from beginning to commit",
    },
)
BATCH_SPLIT = Event(
    "batch.split",
    "warning",
    {"type": "job type", "size": "count: jobs in the batch that failed", "error": "one line"},
    "Nothing: the halves are tried apart, so that only the culprit fails.",
)
JOB_RETRIED = Event(
    "job.retried",
    "warning",
    {
        "type": "job type",
        "key": "whose job it is",
        "attempt": "count: the execution that raised, from 1",
        "delay_seconds": "seconds: until the next",
        "error": "one line",
    },
)
JOB_POSTPONED = Event(
    "job.postponed",
    "warning",
    {
        "type": "job type",
        "keys": "texts: whose jobs they are",
        "times": "count: how often the job has been postponed; 0 for trouble of the whole database",
        "delay_seconds": "seconds: until the next try; it grows to 5 minutes where it is counted",
        "error": "one line",
    },
    "Nothing: the database's trouble costs no attempt. If it goes on, look at the database.",
)
JOB_BLOCKED = Event(
    "job.blocked",
    "error",
    {
        "type": "job type",
        "key": "whose job it is",
        "times": "count: how often it was postponed; told at each multiple of retry.slow_limit",
        "delay_seconds": "seconds: until the next try",
        "error": "one line",
    },
    "Somebody holds a lock that the job needs: sweeper doctor names the session; have it ended. "
    "The job waits, and is never dead for it.",
    remedies.ROW_LOCKED,
)
JOB_DEAD = Event(
    "job.dead",
    "error",
    {
        "type": "text or null: job type, null where it could not be read",
        "key": "text or null: whose job it is, null where it could not be read",
        "msg_id": "id: in the dead-letter queue",
        "reason": "one of: exhausted, invalid, unknown_type, crashed or rejected",
        "attempts": "count: executions",
        "error": "one line",
        "alike": "count: others of the same cause in its batch, which have no line of their own",
    },
    "sweeper dead show ID; mend the cause, then sweeper dead retry ID, or sweeper dead drop ID.",
    remedies.DEAD_LETTERS,
)
JOB_LOST = Event(
    "job.lost",
    "error",
    {
        "rule": "text or null: that found it; null where the sweep's own counts are off",
        "sweep_id": "of the sweep that sent it",
        "key": "text or null: whose job it is, null likewise",
        "problem": "one line",
    },
    "The audit says so: look at the order (sweeper explain KEY), and report it as a bug.",
    remedies.JOB_LOST,
)
JOB_MOVED = Event(
    "job.moved",
    "info",
    {
        "count": "count: messages",
        "source": "queue",
        "target": "queue, where their kind of work is done",
    },
)
JOB_UNDECIDED = Event(
    "job.undecided",
    "error",
    {
        "queue": "in which the message stays",
        "msg_id": "id: of the message there",
        "error": "why, in one line, it could be neither completed, retried nor dead-lettered",
    },
    "It counts as a crash and is read again; after retry.crash_limit of them it is dead.",
    remedies.UNEXPECTED_ERROR,
)
LEASE_LOST = Event(
    "lease.lost",
    "warning",
    {"type": "job type", "keys": "texts: whose jobs were settled by somebody else meanwhile"},
    "Nothing was done twice. If it goes on, raise queue.visibility.",
    remedies.LEASE_LOST,
)
LIBRARY_LOGGED = Event(
    "library.logged",
    "warning",
    {
        "logger": "which library speaks",
        "said": "its own words",
        "exception": "text or null: the traceback, null without one",
    },
    "Mostly nothing: it is not ours, and comes at the level that the library chose.",
)
WORKER_FAILED = Event(
    "worker.failed",
    "error",
    {"lane": "one of: database or outbound", "error": "one line"},
    "The messages come back when their lease ends; if it goes on, report it as a bug.",
    remedies.UNEXPECTED_ERROR,
)
LEASE_NOT_RENEWED = Event(
    "lease.not_renewed",
    "warning",
    {"count": "count: messages that were read and wait to be begun", "error": "one line"},
    "Nothing: whoever reads them next does them, once.",
)
LANE_PAUSED = Event(
    "lane.paused",
    "warning",
    {
        "type": "job type whose calls fail, or are asked to wait",
        "seconds": "seconds: until the next try; up to 4 s, or 5 min where replies are lost",
        "error": "one line",
    },
    "Nothing: no job spends an attempt meanwhile. If it goes on, look at the provider's status.",
)
LANE_BLOCKED = Event(
    "lane.blocked",
    "error",
    {
        "type": "job type whose calls are refused",
        "seconds": "seconds: until the next try; if it goes on, the pauses grow to 5 minutes",
        "error": "one line",
    },
    "Mend the token, the account or the settings that it names; the jobs wait and are not lost.",
    remedies.PROVIDER_BLOCKED,
)
LANE_RESUMED = Event(
    "lane.resumed",
    "info",
    {
        "type": "job type whose calls succeed again",
        "seconds": "seconds: since it was paused or blocked",
    },
)
SETTINGS_LACKED = Event(
    "settings.lacked",
    "error",
    {"section": "of the settings", "problem": "one line"},
    "Set it; the jobs that need it wait and are not lost.",
    remedies.SETTINGS_LACKED,
)
SETTINGS_RELOADED = Event(
    "settings.reloaded",
    "info",
    {
        "changed": "texts: settings that are in force from now on; a token by its name",
        "unapplied": "texts: settings that have changed, and need a restart",
    },
    "Restart the service if something is not applied, when it suits: systemctl restart sweeper.",
)
SETTINGS_REFUSED = Event(
    "settings.refused",
    "warning",
    {"faults": "texts: each with where the value came from"},
    "Mend them, and reload again. The settings from before are in force; a restart would fail.",
    remedies.SETTINGS_REFUSED,
)
WEB_OPENED = Event("web.opened", "info", {"address": "host:port of the page"})
WEB_FAILED = Event(
    "web.failed",
    "error",
    {"error": "one line"},
    "Sweeping goes on. A port that is taken: set web.port. Anything else: report it as a bug.",
    remedies.PAGE_CLOSED,
)
WEB_REFUSED = Event(
    "web.refused",
    "warning",
    {"peer": "address", "reason": "one of: wrong token or foreign form"},
    "If it is none of yours, see who the peer is; the token is guessed at no more than slowly.",
    remedies.PAGE_REFUSED,
)
ACT_FINISHED = Event(
    "act.finished",
    "info",
    {
        "action": "one of: sweep, dry_run, drain, pause, resume, retry, drop, settle, enqueue, "
        "migrate or purge",
        "subject": "what it acted on, as the person named it",
        "actor": "who acted, as a login name, or as web, the name of a token and the address",
        "origin": "one of: page, api, unit or signal",
        "reason": "text or null: why; null where none was given",
        "outcome": "one of: done, failed or refused",
        "detail": "text or null: what it did, or why it did not, in one line",
        "duration_ms": "milliseconds: from begin to end",
    },
    "Whose it is, and what a command did, which has no line: sweeper acts.",
)
ACT_NOT_RECORDED = Event(
    "act.not_recorded",
    "warning",
    {
        "action": "as in act.finished",
        "subject": "what it acts on",
        "actor": "who acts",
        "origin": "one of: command, page, api, unit or signal",
        "error": "one line",
    },
    "The act itself goes on; sweeper.act lacks it, this line has it. sweeper doctor names grants.",
    remedies.ACT_NOT_RECORDED,
)
DATABASE_LOST = Event(
    "database.lost",
    "error",
    {"error": "one line"},
    "The service waits and tries again by itself.",
    remedies.DATABASE_AWAY,
)
DATABASE_RECOVERED = Event("database.recovered", "info", {"seconds": "seconds: that it was away"})
CLOCK_SKEWED = Event(
    "clock.skewed",
    "error",
    {
        "skew_ms": "milliseconds: this host ahead of the database",
        "allowed_ms": "milliseconds: safety.max_clock_skew",
    },
    "No order is touched until the clocks agree; mend this host's or the server's time.",
    remedies.CLOCK_SKEWED,
)

ENGINE_EVENTS: tuple[Event, ...] = tuple(
    sorted((v for v in list(globals().values()) if isinstance(v, Event)), key=lambda e: e.name)
)
"""The engine's own events; the job files export theirs in the tuple EVENTS."""
