"""Monitoring: alive means working, and the books are compared."""

from tests.mutants.mutant import Mutant

HEALTH_TESTS = "tests/unit/monitoring/test_health.py"
AUDIT_TESTS = "tests/postgres/monitoring/test_audit.py"
BEAT = "tests/postgres/service/test_heartbeat.py"
STATUS = "tests/postgres/monitoring/test_status.py"
HEALTH = "sweeper/monitoring/health.py"
AUDIT = "sweeper/monitoring/audit.py"

MUTANTS = (
    Mutant(
        "the service is always ready",
        "L9",
        HEALTH,
        'return reasons + [f"{loop} has not come back" for loop in late]',
        "return reasons[:0] + late[:0]",
        f"{HEALTH_TESTS}::test_a_service_that_has_not_worked_yet_is_not_ready",
    ),
    Mutant(
        "a look at the queues makes the service ready",
        "L9",
        HEALTH,
        "if self._read is None or looked is None:",
        "if looked is None:",
        f"{HEALTH_TESTS}::test_looks_without_work_keep_the_service_ready_and_do_not_make_it_so",
    ),
    Mutant(
        "a rule that is not scanned any more keeps the service ready",
        "L9",
        HEALTH,
        "elif scans[rule] > (2 * every + SLOW).total_seconds():",
        "elif False:",
        f"{HEALTH_TESTS}::test_a_late_scan_read_or_loop_makes_the_service_not_ready",
    ),
    Mutant(
        "work that no step finishes keeps the service ready",
        "L9",
        HEALTH,
        "if now - since > allowed",
        "if now < since",
        f"{HEALTH_TESTS}::test_visible_messages_that_no_step_handles_make_the_service_not_ready",
    ),
    Mutant(
        "the watchdog is fed while a loop hangs",
        "L9",
        HEALTH,
        "        if not stalled:\n",
        "        if True:\n",
        f"{HEALTH_TESTS}::test_a_hanging_loop_is_reported_once_and_the_watchdog_is_not_fed",
    ),
    Mutant(
        "no loop ever hangs",
        "L9",
        HEALTH,
        "if now - self._turned[loop] > (rest + allowed).total_seconds()",
        "if now < self._turned[loop]",
        f"{HEALTH_TESTS}::test_a_loop_hangs_once_its_pause_and_every_timeout_have_passed",
    ),
    Mutant(
        "an outage of the database starves the watchdog",
        "L9",
        "sweeper/service/supervisor.py",
        "        finally:\n            self._health.turned(name)",
        "        finally:\n            self._health.ready()",
        "tests/postgres/service/test_supervisor.py::test_a_chore_that_fails_has_turned",
    ),
    Mutant(
        "the watchdog is fed too seldom",
        "L9",
        HEALTH,
        "min(_BEAT, interval.total_seconds() / 3)",
        "min(_BEAT, interval.total_seconds() * 3)",
        f"{HEALTH_TESTS}::test_the_watchdog_is_fed_three_times_per_interval",
    ),
    Mutant(
        "/readyz always says yes",
        "L9",
        "sweeper/web/api.py",
        '"reasons": reasons}, 503 if reasons else 200)',
        '"reasons": reasons}, 200)',
        "tests/postgres/web/test_web.py::test_a_service_that_is_not_ready_is_unhealthy",
    ),
    Mutant(
        "/livez always says yes",
        "L9",
        "sweeper/web/api.py",
        '"hanging": hanging}, 503 if hanging else 200)',
        '"hanging": hanging}, 200)',
        "tests/postgres/web/test_web.py::test_a_service_with_a_hanging_loop_is_not_alive",
    ),
    Mutant(
        "the heartbeat says UP without a database",
        "L9",
        "sweeper/service/heartbeat.py",
        "up, starting = bool(status) and not reasons, ",
        "up, starting = not reasons, ",
        f"{BEAT}::test_a_heartbeat_without_a_database_has_no_numbers",
    ),
    Mutant(
        "the monitor is called while the service is not ready",
        "L9",
        "sweeper/service/heartbeat.py",
        "if up and (url := ",
        "if (url := ",
        f"{BEAT}::test_the_monitor_is_not_called_while_the_service_is_not_ready",
    ),
    Mutant(
        "an outage is logged at every error",
        "contract",
        "sweeper/service/outage.py",
        "            if self._since is None:\n",
        "            if True:\n",
        "tests/unit/service/test_outage.py"
        "::test_an_outage_is_one_event_however_many_threads_meet_it",
    ),
    Mutant(
        "the audit does not see a lost job",
        "L8",
        AUDIT,
        "row.times + row.waits < 1 or row.done > 1",
        "row.done > 1",
        f"{AUDIT_TESTS}::test_a_lost_message_is_reported",
    ),
    Mutant(
        "the audit does not see a job that was done twice",
        "L8",
        AUDIT,
        "row.times + row.waits < 1 or row.done > 1",
        "row.times + row.waits < 1",
        f"{AUDIT_TESTS}::test_a_job_that_ended_twice_is_reported",
    ),
    Mutant(
        "the audit does not add up the counts",
        "L8",
        AUDIT,
        "(SWEEP.c.found != counted) | (SWEEP.c.enqueued != listed)",
        "SWEEP.c.enqueued != listed",
        f"{AUDIT_TESTS}::test_counts_that_do_not_add_up_are_reported",
    ),
    Mutant(
        "forged messages are gaps in the books",
        "L8",
        AUDIT,
        "row.times + row.waits < 1 or row.done > 1",
        "row.times + row.waits != 1 or row.done > 1",
        "tests/postgres/monitoring/test_forged_sweep_ids.py"
        "::test_a_forged_message_for_a_job_that_ended_is_no_gap",
    ),
    Mutant(
        "the audit ends with 0 whatever it finds",
        "contract",
        "sweeper/cli/reports.py",
        "    if balance.gaps:\n        raise typer.Exit(1)\n",
        "",
        "tests/postgres/cli/test_output.py::test_audit_reports_a_lost_job_and_exits_with_1",
    ),
    Mutant(
        "overdue counts from the usual limit",
        "contract",
        "sweeper/monitoring/status.py",
        "self.older_than.get(rule.name, rule.older_than)",
        "rule.older_than",
        f"{STATUS}::test_overdue_uses_the_configured_limit_of_the_rule",
    ),
    Mutant(
        "an event may lack a field",
        "contract",
        "sweeper/event.py",
        "if values.keys() != self.fields.keys():",
        "if values.keys() - self.fields.keys():",
        "tests/unit/test_events.py::test_a_field_that_is_missing_is_refused",
    ),
)
