"""Reminders: of what is still so, twice at most, and texts that their job files declare."""

from tests.mutants.mutant import Mutant

TESTS = "tests/domain/test_remind_final_payment.py"
CATALOG_TESTS = "tests/unit/test_catalog.py"
PACKAGES = "tests/postgres/packages/test_foreign_package.py"
JOB = "jobs/remind_final_payment.py"

MUTANTS = (
    Mutant(
        "a paid order is reminded of its payment",
        "L3",
        JOB,
        'finalPaymentId)": ~paid,',
        'finalPaymentId)": awaiting,',
        f"{TESTS}::test_an_order_that_may_be_paid_is_left_alone",
    ),
    Mutant(
        "two reminders come at once after days without service",
        "contract",
        JOB,
        "last = and_(_first_ended, _first_at <= cutoff, _no_last)",
        "last = and_(_first_ended, _no_last)",
        f"{TESTS}::test_after_three_days_down_there_are_not_two_reminders_at_once",
    ),
    Mutant(
        "the second reminder does not wait for the first",
        "contract",
        JOB,
        "last = and_(_first_ended, _first_at <= cutoff, _no_last)",
        "last = and_(_first_at <= cutoff, _no_last)",
        f"{TESTS}::test_a_reminder_that_waits_for_the_provider_holds_back_the_second",
    ),
    Mutant(
        "everybody who ever left an order is reminded",
        "contract",
        JOB,
        "ORDER.c.validatedAt > earliest",
        "ORDER.c.validatedAt <= cutoff",
        f"{TESTS}::test_nobody_is_reminded_of_what_was_accepted_long_ago",
    ),
    Mutant(
        "a held order is not asked again",
        "L1",
        "jobs/orders.py",
        ".where(ORDER.c.id == any_(ORDERS), due))",
        ".where(ORDER.c.id == any_(ORDERS)))",
        f"{TESTS}::test_a_process_that_began_before_another_committed_writes_no_second_reminder",
    ),
    Mutant(
        "a reminder that became wrong while it waited is sent",
        "L3",
        "jobs/send_whatsapp.py",
        "if row.id in untrue:",
        "if False:",
        f"{TESTS}::test_a_reminder_that_became_wrong_while_it_waited_is_not_sent",
    ),
    Mutant(
        "a rule that is off by default is on",
        "contract",
        "sweeper/settings.py",
        "enabled=(bool, rule.enabled),",
        "enabled=(bool, True),",
        f"{TESTS}::test_a_rule_that_is_off_by_default_reminds_nobody",
    ),
    Mutant(
        "what a dormant rule would find counts as late",
        "L9",
        "sweeper/catalog.py",
        "if one.enabled or name in on}",
        "if True}",
        f"{TESTS}::test_a_dormant_rule_has_no_work_that_waits",
    ),
    Mutant(
        "a broken text is found when it is sent",
        "contract",
        "sweeper/exports.py",
        "if faults := [",
        "if faults := [] and [",
        f"{CATALOG_TESTS}::test_a_fault_of_a_collected_value_is_refused",
    ),
    Mutant(
        "a notice that nobody exports is sent without a text",
        "contract",
        "sweeper/exports.py",
        "if isinstance(value, self.kind) and value not in found.values():",
        "if False:",
        f"{CATALOG_TESTS}::test_a_fault_of_a_collected_value_is_refused",
    ),
    Mutant(
        "a dry run passes over a text that cannot be rendered",
        "contract",
        "sweeper/cli/sweep.py",
        "if report.dry_run and report.dry_run.faults:",
        "if False:",
        f"{TESTS}::test_a_dry_run_finds_a_text_that_cannot_be_rendered",
    ),
    Mutant(
        "an entry point does not lead to its package",
        "contract",
        "sweeper/catalog.py",
        "for found in entry_points(group=GROUP, name=name)} or {name})",
        "for found in ()} or {name})",
        f"{PACKAGES}::test_a_package_that_cannot_be_loaded_is_told_by_name"
        " "
        f"{PACKAGES}::test_a_package_alone_replaces_ours",
    ),
)
