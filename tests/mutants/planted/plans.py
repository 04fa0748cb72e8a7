"""Dry runs and plans: what a person has checked, and nothing else."""

from tests.mutants.mutant import Mutant

SCAN = "tests/postgres/sweep/test_scan.py"
PLAN = "tests/postgres/sweep/test_plan.py"
DRY = "tests/domain/test_dry_run.py"
PASSES = "tests/postgres/sweep/test_pass.py"
STOPS = "tests/postgres/cli/test_stop_signals.py"
PLAN_FILE = "sweeper/sweep/plan.py"
REFUSED = f"{PLAN}::test_a_damaged_foreign_or_old_plan_is_refused"

MUTANTS = (
    Mutant(
        "a dry run commits",
        "contract",
        "sweeper/postgres/database.py",
        "outer.rollback()",
        "outer.commit()",
        f"{SCAN}::test_a_dry_run_changes_nothing",
    ),
    Mutant(
        "a dry run logs what never happened",
        "contract",
        "sweeper/sweep/dry_run.py",
        "rolled_back() as database, muted():",
        "rolled_back() as database:",
        f"{DRY}::test_it_logs_no_events",
    ),
    Mutant(
        "a dry run that is stopped passes for all of it",
        "contract",
        "sweeper/sweep/dry_run.py",
        "    if stopping():\n        raise StoppedError\n",
        "    del stopping\n",
        f"{STOPS}::test_a_dry_run_that_is_stopped_says_so",
    ),
    Mutant(
        "a dry run shows an order that would fail as done",
        "contract",
        "sweeper/sweep/dry_run.py",
        "decision.outcome, _error(decision))",
        "Outcome.DONE, None)",
        f"{DRY}::test_an_order_that_would_fail_is_isolated",
    ),
    Mutant(
        "a plan that was changed is run",
        "access",
        PLAN_FILE,
        'if document.pop("checksum") != _checksum(document):',
        'if not document.pop("checksum"):',
        REFUSED,
    ),
    Mutant(
        "an old plan is run",
        "L3",
        PLAN_FILE,
        "if not -longest <= age <= longest:",
        "if False:",
        REFUSED,
    ),
    Mutant(
        "a plan of another database is run",
        "L3",
        PLAN_FILE,
        "if self.database != place(tx):",
        "if False:",
        REFUSED,
    ),
    Mutant(
        "a plan sweeps more than its own orders",
        "L3",
        "sweeper/sweep/statement.py",
        "rows = rows.where(found.c[self.rule.job.key] == any_(planned))",
        "rows = rows.where(func.cardinality(planned) >= 0)",
        f"{PLAN}::test_a_plan_changes_only_its_own_orders",
    ),
    Mutant(
        "a plan works off the messages of others",
        "L3",
        "sweeper/sweep/runner.py",
        "only = None if planned is None else sweep_id",
        "only = None",
        f"{PLAN}::test_a_plan_changes_only_its_own_orders",
    ),
    Mutant(
        "a sweep that was stopped goes on with the next rule",
        "contract",
        "sweeper/sweep/runner.py",
        " for rule in rules if not self.stopping()",
        " for rule in rules",
        f"{STOPS}::test_a_stopped_sweep_begins_no_further_scan",
    ),
    Mutant(
        "a pass leaves a queue that still has other jobs",
        "L6",
        "sweeper/worker/one_pass.py",
        "self._again - self._others",
        "self._again",
        f"{PASSES}::test_a_queue_with_other_jobs_is_not_left_for_one_that_is_held",
    ),
)
