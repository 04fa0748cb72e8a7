"""The database: time, timeouts, and nobody else's code."""

from tests.mutants.mutant import Mutant

TIMEOUTS = "tests/postgres/test_timeouts.py"
ZONES = "tests/postgres/test_time_zones.py"
TX = "tests/postgres/test_transactions.py"
TRIPS = "tests/postgres/test_round_trips.py"
URL = "tests/unit/postgres/test_url.py"
DATABASE = "sweeper/postgres/database.py"
CLOCK = "sweeper/postgres/clock.py"
URLS = "sweeper/postgres/url.py"

MUTANTS = (
    Mutant(
        "a step takes the host's local time for UTC",
        "L4",
        CLOCK,
        "at = datetime.now(UTC)\n",
        "at = datetime.now().replace(tzinfo=UTC)\n",
        f"{ZONES}::test_the_process_s_time_zone_does_not_change_which_orders_are_due",
    ),
    Mutant(
        "a transaction is not in UTC",
        "L4",
        DATABASE,
        "\"'UTC'\"",
        "\"'Asia/Jakarta'\"",
        f"{ZONES}::test_every_transaction_runs_in_utc",
    ),
    Mutant(
        "a time of another zone is stored as if it were UTC",
        "L4",
        CLOCK,
        "return value and value.astimezone(UTC).replace(tzinfo=None)",
        "return value and value.replace(tzinfo=None)",
        f"{ZONES}::test_a_time_of_any_zone_is_stored_in_utc",
    ),
    Mutant(
        "a clock that is behind is not seen",
        "L4",
        CLOCK,
        "if abs(ahead) <= allowed:",
        "if ahead <= allowed:",
        "tests/postgres/sweep/test_scan.py"
        "::test_no_order_is_changed_while_the_clocks_differ_too_much",
    ),
    Mutant(
        "a clock that is ahead is not seen",
        "L4",
        CLOCK,
        "if abs(ahead) <= allowed:",
        "if -ahead <= allowed:",
        "tests/postgres/sweep/test_scan.py"
        "::test_no_order_is_changed_while_the_clocks_differ_too_much",
    ),
    Mutant(
        "a slow network counts as skew",
        "L4",
        CLOCK,
        "return min(after - database_time, timedelta())",
        "return before - database_time",
        "tests/unit/postgres/test_clock.py::test_what_a_round_trip_may_hide_is_no_skew",
    ),
    Mutant(
        "statements have no timeout",
        "L9",
        DATABASE,
        '            "statement_timeout": self.statement_timeout,\n',
        "",
        f"{TIMEOUTS}::test_a_statement_ends_at_its_timeout",
    ),
    Mutant(
        "waits for a lock have no timeout",
        "L9",
        DATABASE,
        'options.get("lock_timeout", self.lock_timeout)',
        "self.statement_timeout",
        f"{TIMEOUTS}::test_a_wait_for_a_lock_ends_at_its_timeout",
    ),
    Mutant(
        "connecting has no timeout",
        "L9",
        DATABASE,
        "max(2, round(connect_timeout.total_seconds()))",
        "600",
        "tests/postgres/cli/test_commands.py::test_a_server_that_never_answers_causes_a_timeout",
    ),
    Mutant(
        "a frozen process holds the platform's rows",
        "L9",
        DATABASE,
        '        timeouts["idle_in_transaction_session_timeout"] = self._idle_timeout\n',
        "",
        f"{TIMEOUTS}::test_the_server_ends_a_transaction_that_nobody_continues",
    ),
    Mutant(
        "a transaction may go on for ever",
        "L9",
        DATABASE,
        '            timeouts["transaction_timeout"] = whole\n',
        "",
        f"{TIMEOUTS}::test_the_server_ends_a_transaction_that_goes_on_too_long",
    ),
    Mutant(
        "a wait for a free connection has no timeout",
        "L9",
        DATABASE,
        "pool_timeout=connect_timeout.total_seconds()",
        "pool_timeout=600",
        f"{TIMEOUTS}::test_a_wait_for_a_free_connection_ends_at_its_timeout",
    ),
    Mutant(
        "the search path has the platform's schema",
        "access",
        DATABASE,
        'self._set_local(self.schema if in_path else "pg_catalog", timeouts)',
        "self._set_local(self.schema, timeouts)",
        "tests/postgres/test_planted_functions.py::test_the_walk_calls_no_planted_function",
    ),
    Mutant(
        "temporary tables come first",
        "access",
        DATABASE,
        "Identifier(schema).as_string()}, pg_temp",
        "Identifier(schema).as_string()}",
        f"{TX}::test_a_temporary_table_replaces_neither_the_platforms_nor_the_servers",
    ),
    Mutant(
        "a transaction has the server's usual isolation",
        "L1",
        DATABASE,
        '"begin isolation level read committed"',
        '"begin"',
        f"{TX}::test_two_scans_enqueue_an_order_once_whatever_isolation_is_the_default",
    ),
    Mutant(
        "what an error in a savepoint has left is sent later",
        "L1",
        "sweeper/postgres/deferred.py",
        "tx.info[_KEY].statements.clear()",
        "pass",
        f"{TRIPS}::test_an_error_in_a_savepoint_forgets_what_was_deferred_in_it",
    ),
    Mutant(
        "a statement may follow the commit",
        "L1",
        "sweeper/postgres/deferred.py",
        "if deferred.over:",
        "if False:",
        f"{TRIPS}::test_no_statement_follows_the_commit",
    ),
    Mutant(
        "a stop cancels what has only just begun",
        "L5",
        "sweeper/postgres/in_use.py",
        "if since <= before:",
        "if True:",
        f"{TIMEOUTS}::test_only_what_has_begun_before_is_cancelled",
    ),
    Mutant(
        "the schema that Prisma names is ignored",
        "contract",
        URLS,
        'options.get("schema"), pooled',
        "None, pooled",
        f"{URL}::test_the_schema_parameter_is_read",
    ),
    Mutant(
        "Prisma's own parameters reach libpq",
        "contract",
        URLS,
        "for key, value in options.items() if key in _LIBPQ}",
        "for key, value in options.items()}",
        f"{URL}::test_parameters_that_only_prisma_knows_are_removed",
    ),
    Mutant(
        "a pooler is not recognized",
        "L10",
        URLS,
        'options.get("pgbouncer") == "true" or _SUPABASE_POOLER in ports',
        'options.get("pgbouncer") == "yes"',
        f"{URL}::test_a_pooler_is_recognized_by_its_flag_or_its_port",
    ),
    Mutant(
        "the end of a password is taken for a host",
        "L11",
        URLS,
        "if any(_is_ambiguous(*reading) for reading in _places(rest)):",
        "if False:",
        f"{URL}::test_an_at_sign_in_a_parameter_is_refused_without_repeating_it",
    ),
    Mutant(
        "the address for errors has the password",
        "L11",
        DATABASE,
        "parsed._replace(password=None).difference_update_query(SECRET)",
        "parsed",
        f"{URL}::test_the_url_of_a_database_holds_no_secret",
    ),
    Mutant(
        "an error holds the values of its statement",
        "L11",
        DATABASE,
        "hide_parameters=True",
        "hide_parameters=False",
        f"{TX}::test_an_error_does_not_hold_the_values_of_its_statement",
    ),
)
