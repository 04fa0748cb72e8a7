"""The service: it starts, looks, stops, and costs nobody anything by it."""

from tests.mutants.mutant import Mutant

SUPERVISOR = "tests/postgres/service/test_supervisor.py"
SCHEDULER = "tests/unit/service/test_scheduler.py"
HINT = "tests/postgres/service/test_hint.py"
LOOPS = "tests/postgres/service/test_loops.py"
STOPS = "tests/postgres/cli/test_stop_signals.py"

MUTANTS = (
    Mutant(
        "SIGTERM kills the service",
        "L5",
        "sweeper/service/signals.py",
        'STOP = ("SIGTERM", "SIGINT")',
        'STOP = ("SIGINT",)',
        "tests/postgres/cli/test_commands.py::test_the_service_sweeps_and_stops_on_a_signal",
    ),
    Mutant(
        "a second signal is ignored",
        "L9",
        "sweeper/service/signals.py",
        "signal.signal(each, signal.SIG_DFL)",
        "signal.signal(each, signal.SIG_IGN)",
        f"{STOPS}::test_a_second_signal_stops_a_command_at_once",
    ),
    Mutant(
        "a command that was stopped says that it succeeded",
        "contract",
        "sweeper/cli/session.py",
        "raise typer.Exit(signals.exit_code(received[0]))",
        "raise typer.Exit(0)",
        f"{STOPS}::test_a_stopped_command_finishes_its_transaction_and_gives_the_rest_back",
    ),
    Mutant(
        "a command that was stopped goes on",
        "contract",
        "sweeper/cli/session.py",
        "yield lambda: bool(received)",
        "yield lambda: False",
        f"{STOPS}::test_a_stopped_command_finishes_its_transaction_and_gives_the_rest_back",
    ),
    Mutant(
        "the stop of the service cancels nothing at its deadline",
        "L5",
        "sweeper/service/supervisor.py",
        "            self._app.database.cancel(cancel_at)\n",
        "",
        f"{SUPERVISOR}::test_a_transaction_that_is_longer_than_the_grace_period_costs_no_crash",
    ),
    Mutant(
        "the stop of the service waits for nobody",
        "L5",
        "sweeper/service/supervisor.py",
        "        clean = _joined(threads, cancel_at)\n",
        "        clean = True\n",
        f"{SUPERVISOR}::test_a_transaction_that_is_longer_than_the_grace_period_costs_no_crash",
    ),
    Mutant(
        "a scan that cannot get its lock keeps the service ready",
        "L9",
        "sweeper/service/loops.py",
        "if isinstance(error, LockedError):",
        "if False:",
        "tests/postgres/sweep/test_scan_lock.py"
        "::test_the_service_is_not_ready_while_a_scan_cannot_get_its_lock",
    ),
    Mutant(
        "a skewed clock counts as a scan",
        "L9",
        "sweeper/service/loops.py",
        "            return  # the scan has logged it\n",
        "            result = None\n",
        f"{LOOPS}::test_a_scan_that_the_clocks_prevent_makes_no_service_ready",
    ),
    Mutant(
        "a step that fails counts as work",
        "L9",
        "sweeper/service/loops.py",
        "                self._outage.tell(error, events.WORKER_FAILED, lane=lane)\n",
        "                self._outage.tell(error, events.WORKER_FAILED, lane=lane)\n"
        "                self._health.read(lane)\n",
        f"{LOOPS}::test_looks_at_the_queues_make_no_service_ready_whose_reads_all_fail",
    ),
    Mutant(
        "a service without work never claims anything",
        "L9",
        "sweeper/service/loops.py",
        "        self.wake()  # so that each worker reads once",
        "        # so that each worker reads once",
        f"{LOOPS}::test_a_service_without_work_becomes_ready_by_a_read_that_claims",
    ),
    Mutant(
        "SIGUSR1 causes no scan",
        "contract",
        "sweeper/service/supervisor.py",
        "for rule in self._app.rules.values() if received else ():",
        "for rule in ():",
        f"{SUPERVISOR}::test_sigusr1_causes_a_scan_at_once",
    ),
    Mutant(
        "late scans are made up for one by one",
        "contract",
        "sweeper/service/scheduler.py",
        '"coalesce": True',
        '"coalesce": False',
        f"{SCHEDULER}::test_several_late_ticks_are_run_as_one",
    ),
    Mutant(
        "a slow scan overlaps with the next one",
        "contract",
        "sweeper/service/scheduler.py",
        '"max_instances": 1',
        '"max_instances": 2',
        f"{SCHEDULER}::test_a_slow_call_does_not_overlap_with_the_next_one",
    ),
    Mutant(
        "a late scan is left out",
        "L2",
        "sweeper/service/scheduler.py",
        '"misfire_grace_time": None',
        '"misfire_grace_time": 1',
        f"{SCHEDULER}::test_a_late_tick_is_still_run",
    ),
    Mutant(
        "a scan that is left out is not logged",
        "contract",
        "sweeper/service/scheduler.py",
        "EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED",
        "EVENT_JOB_MISSED",
        f"{SCHEDULER}::test_a_skipped_tick_is_logged",
    ),
    Mutant(
        "the hint is believed without a test",
        "L10",
        "sweeper/service/hint.py",
        "if not opened.hears(test, _TEST):",
        "if False:",
        f"{HINT}::test_a_direct_url_to_another_database_fails_the_test_and_gives_no_hint",
    ),
    Mutant(
        "the polls stay rare when the hint is lost",
        "L10",
        "sweeper/service/loops.py",
        "if self.hint and self.hint.is_alive else",
        "if self.hint else",
        f"{HINT}::test_a_hint_that_is_lost_makes_room_for_polls_and_comes_back",
    ),
    Mutant(
        "a message in the shadow of another waits for a minute",
        "L10",
        "sweeper/service/loops.py",
        "if self.hint and (shadow := self.hint.shadow):",
        "if not self.hint and (shadow := pace):",
        f"{HINT}::test_a_message_in_the_shadow_of_another_is_found",
    ),
    Mutant(
        "a delayed message waits for the next poll",
        "L10",
        "sweeper/service/loops.py",
        "coming = found.next_in if rest > pace else None",
        "coming = None",
        f"{HINT}::test_a_delayed_message_is_found_when_it_becomes_visible",
    ),
    Mutant(
        "a lost hint is given up",
        "L10",
        "sweeper/service/hint.py",
        "            self._stopping.wait(rest.total_seconds())\n",
        "            self._stopping.wait()\n",
        f"{HINT}::test_a_hint_that_is_lost_makes_room_for_polls_and_comes_back",
    ),
)
