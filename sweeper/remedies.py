"""What a person does about each situation: the next command, and its section in the runbook.

Events, the page, doctor and the alarms take theirs from here; job files add those of the domain.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a person does about one situation; words in capitals stand for what is to be filled in.

    slug    -- the anchor of its section in the runbook
    command -- the next command to type
    """

    slug: str
    command: str

    @property
    def page(self) -> str:
        """Where its section stands in the project, the same on every machine."""
        return f"{RUNBOOK}#{self.slug}"

    @property
    def here(self) -> str:
        """Where its section stands on this machine: the installed page, if there is one."""
        return f"{_installed()}#{self.slug}"

    def __str__(self) -> str:
        return f"{self.command}; {self.page}"


def _installed() -> str:
    path = Path(sys.prefix, "share", "sweeper", RUNBOOK)
    return str(path) if path.exists() else RUNBOOK


_DOCTOR, _STATUS = "sweeper doctor", "sweeper status"
_LOG = "journalctl -u sweeper -o cat"

SERVICE_SILENT = Remedy("service-silent", "systemctl status sweeper")
NOT_READY = Remedy("not-ready", _DOCTOR)
PROCESS_FROZEN = Remedy("process-frozen", f"{_LOG} -g loop.stalled -n 1")
UNEXPECTED_ERROR = Remedy("unexpected-error", f"{_LOG} --since -1h")
HOST_BUSY = Remedy("host-busy", "uptime")

DATABASE_AWAY = Remedy("database-away", _DOCTOR)
CLOCK_SKEWED = Remedy("clock-skewed", "timedatectl")
TABLE_LOCKED = Remedy("table-locked", _DOCTOR)
ROW_LOCKED = Remedy("row-locked", _DOCTOR)

BRAKE_HELD = Remedy("brake-held", "sweeper sweep --dry-run")
SCAN_FAILED = Remedy("scan-failed", _DOCTOR)
OVERDUE = Remedy("overdue", _STATUS)
LEFT_ALONE = Remedy("left-alone", "sweeper explain ORDER")

DEAD_LETTERS = Remedy("dead-letters", "sweeper dead list")
HIDDEN_MESSAGES = Remedy("hidden-messages", _STATUS)
JOB_LOST = Remedy("job-lost", "sweeper audit")
LEASE_LOST = Remedy("lease-lost", "sweeper config")

BACKLOG_GROWS = Remedy("backlog-grows", _STATUS)
MESSAGE_WAITS = Remedy("message-waits", _STATUS)
PAUSED = Remedy("paused", "sweeper resume TARGET")
PAUSE_OUTLIVES_ITS_END = Remedy("pause-outlives-its-end", "sweeper resume TARGET")

PROVIDER_BLOCKED = Remedy("provider-blocked", f"{_LOG} -g lane.blocked -n 1")
SETTINGS_LACKED = Remedy("settings-lacked", _DOCTOR)
SETTINGS_REFUSED = Remedy("settings-refused", "sweeper config")
HISTORY_NOT_PRUNED = Remedy("history-not-pruned", _DOCTOR)
HISTORY_NOT_RECORDED = Remedy("history-not-recorded", _DOCTOR)
ACT_NOT_RECORDED = Remedy("act-not-recorded", _DOCTOR)
MONITOR_AWAY = Remedy("monitor-away", f"{_LOG} -g heartbeat.failed -n 5")
PAGE_CLOSED = Remedy("page-closed", f"{_LOG} -g web.failed -n 1")
PAGE_REFUSED = Remedy("page-refused", f"{_LOG} -g web.refused -n 20")

REMEDIES: tuple[Remedy, ...] = tuple(v for v in list(globals().values()) if isinstance(v, Remedy))
