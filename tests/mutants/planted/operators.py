"""What operators rely on: settings, exit codes, and the doctor."""

from tests.mutants.mutant import Mutant

COMMANDS = "tests/postgres/cli/test_commands.py"
SETTINGS_TESTS = "tests/unit/test_settings.py"
DOCTOR = "tests/postgres/cli/test_doctor.py"
GRANTS = "tests/postgres/admin/test_grants.py"
SETTINGS = "sweeper/settings.py"
ACTS = "sweeper/queue/acts.py"
ACTS_TESTS = "tests/postgres/queue/test_acts.py"
ACTS_COMMANDS = "tests/postgres/cli/test_acts.py"
CHECKS = "sweeper/cli/checks/login_checks.py"

MUTANTS = (
    Mutant(
        "exit code 3 is lost",
        "contract",
        "sweeper/cli/session.py",
        "if tally.failed:",
        "if False:",
        f"{COMMANDS}::test_a_retried_job_causes_exit_code_3",
    ),
    Mutant(
        "exit code 4 is lost",
        "contract",
        "sweeper/cli/sweep.py",
        "if report.braked:",
        "if False:",
        f"{COMMANDS}::test_a_braked_sweep_enqueues_nothing_and_has_exit_code_4",
    ),
    Mutant(
        "exit code 69 is lost",
        "contract",
        "sweeper/errors.py",
        "exit_code = 69",
        "exit_code = 1",
        f"{COMMANDS}::test_a_missing_database_is_reported",
    ),
    Mutant(
        "exit code 78 is lost",
        "contract",
        "sweeper/errors.py",
        "exit_code = 78",
        "exit_code = 1",
        f"{SETTINGS_TESTS}::test_a_settings_error_has_exit_code_78",
    ),
    Mutant(
        "faults of the settings are told one at a time",
        "contract",
        SETTINGS,
        'raise SettingsError("\\n".join(faults))',
        "raise SettingsError(faults[0])",
        f"{SETTINGS_TESTS}::test_all_faults_are_reported_at_once_by_name_and_place",
    ),
    Mutant(
        "an unknown setting in the file is ignored",
        "contract",
        SETTINGS,
        'model_config = ConfigDict(extra="forbid", frozen=True)',
        'model_config = ConfigDict(extra="ignore", frozen=True)',
        f"{SETTINGS_TESTS}::test_an_unknown_key_or_section_is_refused",
    ),
    Mutant(
        "a misspelled variable is ignored",
        "contract",
        SETTINGS,
        "for name in _unknown_variables(model)",
        "for name in _unknown_variables(model)[:0]",
        f"{SETTINGS_TESTS}::test_an_unknown_variable_is_refused",
    ),
    Mutant(
        "nobody has to say when stock is taken",
        "L1",
        SETTINGS,
        'raise SettingsError("\\n".join(missing))',
        "pass",
        f"{COMMANDS}::test_no_order_is_changed_while_stock_taken_at_is_not_set",
    ),
    Mutant(
        "a number without a unit is a duration",
        "contract",
        "sweeper/durations.py",
        "if not isinstance(text, str) or not _WHOLE.fullmatch(text.strip()):",
        "if not isinstance(text, str):",
        "tests/unit/test_durations.py::test_a_value_that_is_not_a_valid_duration_is_refused",
    ),
    Mutant(
        "two job files may export one name",
        "contract",
        "sweeper/catalog.py",
        "if found.setdefault(name, value) is not value:\n            message = (",
        "if found.setdefault(name, value) is None:\n            message = (",
        "tests/unit/test_catalog.py::test_two_values_with_the_same_name_are_refused",
    ),
    Mutant(
        "the doctor does not see row-level security",
        "contract",
        CHECKS,
        "    if hidden:\n",
        "    if False:\n",
        f"{GRANTS}::test_the_doctor_reports_rows_hidden_by_row_level_security",
    ),
    Mutant(
        "the doctor does not see a missing grant",
        "contract",
        CHECKS,
        "    if lacking:\n",
        "    if False:\n",
        f"{GRANTS}::test_the_doctor_reports_each_missing_grant",
    ),
    Mutant(
        "the doctor does not see who may delete history",
        "contract",
        CHECKS,
        "    if not deletable:\n",
        "    if True:\n",
        f"{GRANTS}::test_the_doctor_warns_of_a_login_that_may_delete_from_the_ledger",
    ),
    Mutant(
        "the doctor does not see a skewed clock",
        "contract",
        "sweeper/cli/doctor.py",
        "if abs(skew) <= allowed:",
        "if skew:",
        f"{DOCTOR}::test_a_clock_skew_is_an_error",
    ),
    Mutant(
        "the doctor does not see a missing index",
        "contract",
        "sweeper/cli/doctor.py",
        "    for index in absent:\n",
        "    for index in absent[:0]:\n",
        f"{DOCTOR}::test_the_doctor_proposes_the_indexes_as_sql",
    ),
    Mutant(
        "the doctor ends with 0 whatever it finds",
        "contract",
        "sweeper/cli/main.py",
        "    if failed:\n",
        "    if False:\n",
        "tests/postgres/cli/test_output.py::test_doctor_reports_a_missing_table_and_exits_with_69",
    ),
    Mutant(
        "an act is written down twice",
        "contract",
        ACTS,
        "            self._warn(error)\n        self._is_written = True\n",
        "            self._warn(error)\n",
        f"{ACTS_TESTS}::test_an_act_of_one_transaction_is_one_row_that_commits_with_its_effect",
    ),
    Mutant(
        "a drop is written down only at its end",
        "contract",
        "sweeper/queue/dead_letters/dead_letter_queue.py",
        "            act.begin()\n",
        "            pass\n",
        f"{ACTS_TESTS}::test_each_part_names_its_keys_in_its_own_transaction",
    ),
    Mutant(
        "an act that cannot be written down is refused",
        "contract",
        ACTS,
        "            if is_disconnected(error):\n                raise\n",
        "            raise\n",
        f"{ACTS_TESTS}::test_an_act_that_cannot_be_written_down_is_done_all_the_same_and_told",
    ),
    Mutant(
        "a sweep that the brake held counts as done in the acts",
        "L7",
        "sweeper/cli/sweep.py",
        "refused=report.braked",
        "refused=False",
        f"{ACTS_COMMANDS}::test_a_sweep_that_the_brake_held_is_refused",
    ),
    Mutant(
        "the login may date an act back",
        "access",
        "sweeper/admin/grants.py",
        'Grant(SCHEMA, "act", "insert", _ACT)',
        'Grant(SCHEMA, "act", "insert")',
        f"{GRANTS}::test_the_printed_grants_allow_nothing_else",
    ),
    Mutant(
        "a phone number in a reason stays in the acts",
        "L11",
        ACTS,
        "in_line(redact.short(text.strip(), limit))",
        "in_line(text.strip()[:limit])",
        f"{ACTS_TESTS}::test_what_people_write_is_bounded_masked_and_visible",
    ),
)
