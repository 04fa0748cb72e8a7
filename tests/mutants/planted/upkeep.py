"""Upkeep: what is migrated, who may do what, and what is deleted."""

from tests.mutants.mutant import Mutant

COMMANDS = "tests/postgres/cli/test_commands.py"
GRANTS = "tests/postgres/admin/test_grants.py"
MIGRATE = "tests/postgres/admin/test_migrate.py"
PRUNER_TESTS = "tests/postgres/admin/test_pruner.py"
SETTINGS = "sweeper/settings.py"
PRUNER = "sweeper/admin/pruner.py"

MUTANTS = (
    Mutant(
        "orders are swept in a database that is not migrated",
        "L3",
        "sweeper/admin/preflight.py",
        "if current_revisions(tx) != heads(catalog.packages):",
        "if False:",
        f"{MIGRATE}::test_a_missing_object_is_reported_before_any_order_is_changed",
    ),
    Mutant(
        "orders are swept in tables that have changed",
        "L3",
        "sweeper/admin/preflight.py",
        "        platform_tables.demand(tx, catalog)\n",
        "",
        f"{COMMANDS}::test_a_changed_schema_of_the_platform_is_reported_and_nothing_is_touched",
    ),
    Mutant(
        "an older program works on a newer schema",
        "L3",
        "sweeper/admin/preflight.py",
        "if fault := too_new(tx, catalog.packages):",
        "if fault := None:",
        "tests/postgres/cli/test_first_contact.py"
        "::test_an_older_program_says_that_the_schema_is_newer_and_how_to_go_on",
    ),
    Mutant(
        "two migrations run at the same time",
        "L1",
        "sweeper/admin/migrate.py",
        "        tx.execute(_LOCK)\n        version",
        "        version",
        f"{MIGRATE}::test_of_two_concurrent_migrations_only_one_does_the_work",
    ),
    Mutant(
        "the printed grants allow to delete history",
        "access",
        "sweeper/admin/grants.py",
        'Grant(SCHEMA, "job_log", privilege) for privilege in ("select", "insert")',
        'Grant(SCHEMA, "job_log", privilege) for privilege in ("select", "insert", "delete")',
        f"{GRANTS}::test_the_printed_grants_allow_nothing_else",
    ),
    Mutant(
        "the pruner deletes young rows",
        "L8",
        PRUNER,
        "before = now - self.keep",
        "before = now",
        f"{PRUNER_TESTS}::test_records_within_the_limit_are_kept_and_nothing_is_logged",
    ),
    Mutant(
        "jobs are pruned before their sweeps",
        "L8",
        PRUNER,
        "        sweeps = self._delete(SWEEP, before, stopping)\n"
        "        jobs = self._delete(JOB_LOG, before - _MARGIN, stopping)\n",
        "        jobs = self._delete(JOB_LOG, before - _MARGIN, stopping)\n"
        "        sweeps = self._delete(SWEEP, before, stopping)\n",
        f"{PRUNER_TESTS}::test_the_ledger_balances_wherever_pruning_stops",
    ),
    Mutant(
        "a clock that is behind has its jobs pruned before their sweeps",
        "L8",
        PRUNER,
        "before - _MARGIN",
        "before",
        f"{PRUNER_TESTS}::test_the_job_of_a_sweep_that_is_kept_is_kept_too",
    ),
    Mutant(
        "a login without the right may prune the last day",
        "access",
        "sweeper/migrations/versions/engine_0004.py",
        "least(before, now() - interval '1 day')",
        "before",
        f"{GRANTS}::test_pruning_works_with_only_the_printed_grants_and_keeps_the_last_day",
    ),
    Mutant(
        "every login may prune",
        "access",
        "sweeper/migrations/versions/engine_0004.py",
        '    op.execute(f"revoke all on function {SIGNATURE} from public")\n',
        "",
        f"{GRANTS}::test_only_a_login_with_the_grant_may_prune",
    ),
    Mutant(
        "two machines prune at the same time",
        "contract",
        PRUNER,
        "                row_lock.take(tx, self.database, _LOCK)\n",
        "",
        f"{PRUNER_TESTS}::test_two_machines_do_not_prune_at_the_same_time",
    ),
    Mutant(
        "dead letters are pruned unasked",
        "L2",
        SETTINGS,
        "keep_dead: Length | None = None",
        "keep_dead: Length | None = timedelta(days=1)",
        f"{PRUNER_TESTS}::test_dead_letters_are_kept_unless_a_setting_names_their_age",
    ),
    Mutant(
        "a purge needs no confirmation",
        "L2",
        "sweeper/cli/queues.py",
        "        if not yes:\n",
        "        if False:\n",
        f"{COMMANDS}::test_a_command_with_invalid_arguments_is_refused",
    ),
)
