"""Scans: what is enqueued, and what is not."""

from tests.mutants.mutant import Mutant

SCAN = "tests/postgres/sweep/test_scan.py"
LOCK = "tests/postgres/sweep/test_scan_lock.py"
DEEP = "tests/postgres/sweep/test_deep_queues.py"
HIDDEN = "tests/postgres/sweep/test_hidden_messages.py"
STATEMENT = "sweeper/sweep/statement.py"
WAITING = "sweeper/queue/waiting.py"

MUTANTS = (
    Mutant(
        "the brake is off",
        "L7",
        STATEMENT,
        "held = and_(counts.c.found > self.limit, counts.c.fresh > 0)",
        "held = and_(counts.c.found < 0, counts.c.fresh > 0)",
        f"{SCAN}::test_the_brake_holds_above_the_limit_and_not_at_it",
    ),
    Mutant(
        "the brake holds one order too early",
        "L7",
        STATEMENT,
        "counts.c.found > self.limit",
        "counts.c.found >= self.limit",
        f"{SCAN}::test_the_brake_holds_above_the_limit_and_not_at_it",
    ),
    Mutant(
        "the brake counts new orders only",
        "L7",
        STATEMENT,
        "counts.c.found > self.limit",
        "counts.c.fresh > self.limit",
        f"{SCAN}::test_the_brake_counts_all_due_orders_and_not_only_new_ones",
    ),
    Mutant(
        "a braked scan counts as a success",
        "L7",
        STATEMENT,
        '"ok": ~held,',
        '"ok": counts.c.found >= 0,',
        "tests/postgres/monitoring/test_status.py"
        "::test_a_braked_sweep_is_shown_until_a_sweep_succeeds",
    ),
    Mutant(
        "two scans of a rule run at the same time",
        "L1",
        "sweeper/sweep/scan.py",
        'f"scan.{rule.job.name}"',
        'f"scan.{options.sweep_id}"',
        f"{SCAN}::test_a_scan_waits_for_another_one_and_sees_its_messages",
    ),
    Mutant(
        "an order whose job waits is enqueued again",
        "L1",
        STATEMENT,
        "fresh = and_(~due.c.waits, ~due.c.is_dead)",
        "fresh = ~due.c.is_dead",
        f"{SCAN}::test_a_second_scan_does_not_enqueue_a_waiting_job_again",
    ),
    Mutant(
        "an order with a dead letter is enqueued again",
        "L5",
        STATEMENT,
        "fresh = and_(~due.c.waits, ~due.c.is_dead)",
        "fresh = ~due.c.waits",
        f"{SCAN}::test_an_order_with_a_dead_letter_is_not_enqueued_again",
    ),
    Mutant(
        "a dead letter with a message counts twice",
        "L8",
        STATEMENT,
        "due.c.is_dead & ~due.c.waits",
        "due.c.is_dead",
        f"{SCAN}::test_an_order_with_a_dead_letter_and_a_message_counts_once",
    ),
    Mutant(
        "orders are enqueued in no order",
        "L6",
        STATEMENT,
        ".order_by(due.c.place)",
        ".order_by(due.c.place.desc())",
        f"{SCAN}::test_orders_are_enqueued_oldest_first",
    ),
    Mutant(
        "the clocks are not compared before a scan",
        "L4",
        "sweeper/sweep/scan.py",
        "            compared.check(self.max_skew)\n",
        "",
        f"{SCAN}::test_no_order_is_changed_while_the_clocks_differ_too_much",
    ),
    Mutant(
        "each machine scans each slot",
        "L1",
        "sweeper/sweep/scan.py",
        "if earlier or paused:",
        "if paused:",
        "tests/postgres/worker/test_lease.py::test_all_machines_together_scan_once_per_slot",
    ),
    Mutant(
        "who waits for the lock of a scan is not told who holds it",
        "L9",
        "sweeper/postgres/row_lock.py",
        "if not is_locked(error):",
        "if True:",
        f"{LOCK}::test_a_scan_that_cannot_get_the_lock_names_its_holder",
    ),
    Mutant(
        "a message that is visible in ten years keeps its order out",
        "L2",
        WAITING,
        "return is_ours & ~is_hidden(table, queues.horizon)",
        "return is_ours",
        f"{HIDDEN}::test_a_message_that_is_visible_in_ten_years_keeps_no_order_out_of_the_scans",
    ),
    Mutant(
        "hidden messages are not counted",
        "L2",
        "sweeper/queue/hidden.py",
        "sum(total for _, total, _ in rows)",
        "0",
        f"{HIDDEN}::test_a_scan_tells_hidden_messages_with_their_count_and_ids",
    ),
    Mutant(
        "a scan does not tell of hidden messages",
        "L2",
        "sweeper/sweep/scan.py",
        "        self._tell(hidden_of(far))\n",
        "",
        f"{HIDDEN}::test_a_scan_tells_hidden_messages_with_their_count_and_ids",
    ),
    Mutant(
        "a retry that waits long counts as hidden",
        "L1",
        "sweeper/settings.py",
        "return delay + self.queue.visibility + _SLACK",
        "return self.queue.visibility",
        f"{HIDDEN}::test_an_hour_at_least_counts_as_on_its_way",
    ),
    Mutant(
        "very many due orders are compared with no queue",
        "L1",
        WAITING,
        ", whole.where(~few))",
        ")",
        f"{DEEP}::test_very_many_due_orders_are_compared_with_the_whole_queue",
    ),
    Mutant(
        "an index that is left of a failed creation is relied on",
        "contract",
        "sweeper/queue/key_index.py",
        "            _INDEX.c.indisvalid,\n",
        "",
        f"{DEEP}::test_an_index_that_is_left_of_a_failed_creation_is_not_relied_on",
    ),
    Mutant(
        "an order in a list of orders is enqueued again",
        "L1",
        WAITING,
        "        if job.many:\n            queries.append",
        "        if False:\n            queries.append",
        "tests/postgres/queue/test_pgmq.py::test_the_keys_of_waiting_jobs_are_found",
    ),
    Mutant(
        "row-level security hides orders in silence",
        "L2",
        "sweeper/postgres/database.py",
        '"row_security": "off"',
        '"row_security": "on"',
        f"{SCAN}::test_rows_hidden_by_row_level_security_are_an_error",
    ),
)
