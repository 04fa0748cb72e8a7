"""Who is cancelled, and who is rejected."""

from tests.mutants.mutant import Mutant

EXPIRE = "tests/domain/test_expire_dp.py"
REFUND = "tests/domain/test_auto_refund.py"
BATCH = "tests/unit/test_batch.py"

MUTANTS = (
    Mutant(
        "the handlers do not ask again whether an order is due",
        "L3",
        "jobs/orders.py",
        "wanted = select(ORDER.c.id).where(ORDER.c.id == any_(ORDERS), due)",
        "wanted = select(ORDER.c.id).where(ORDER.c.id == any_(ORDERS))",
        f"{EXPIRE}::test_an_order_paid_between_scan_and_drain_is_skipped",
    ),
    Mutant(
        "the cancelling handler asks for the status only",
        "L3",
        "jobs/expire_dp.py",
        "claiming(unpaid(CUTOFF), ",
        "claiming(pending, ",
        f"{EXPIRE}::test_the_handler_checks_the_limit_again",
    ),
    Mutant(
        "the rejecting handler asks for the status only",
        "L3",
        "jobs/auto_refund.py",
        "claiming(unanswered(CUTOFF), ",
        "claiming(waiting, ",
        f"{REFUND}::test_the_handler_checks_the_limit_again",
    ),
    Mutant(
        "the claim locks no row before it asks",
        "L3",
        "jobs/orders.py",
        ".with_for_update(key_share=True, skip_locked=True)",
        "",
        f"{EXPIRE}::test_a_payment_that_commits_during_the_claim_is_not_overwritten",
    ),
    Mutant(
        "an order that somebody holds counts as ended",
        "L2",
        "sweeper/batch.py",
        'self.postpone(job, "row locked")',
        'self.skip(job, "row locked")',
        f"{EXPIRE}::test_an_order_that_is_being_paid_is_postponed",
    ),
    Mutant(
        "two messages about one order both count as done",
        "L8",
        "sweeper/batch.py",
        "case True if job.key not in done:",
        "case True if job.key:",
        f"{BATCH}::test_only_the_first_of_several_messages_for_one_row_is_done",
    ),
    Mutant(
        "the handler takes now for the cutoff",
        "L3",
        "sweeper/app.py",
        "return now - next((self.older_than[name] for name in names), timedelta())",
        "return now",
        f"{EXPIRE}::test_the_handler_checks_the_limit_again",
    ),
    Mutant(
        "an order is unpaid a moment too late",
        "contract",
        "jobs/expire_dp.py",
        "ORDER.c.createdAt <= cutoff",
        "ORDER.c.createdAt < cutoff",
        f"{EXPIRE}::test_the_exact_limit_is_due",
    ),
    Mutant(
        "evidence of a payment is ignored",
        "L3",
        "jobs/expire_dp.py",
        'dpPaymentId)": ~paid,',
        'dpPaymentId)": pending,',
        f"{EXPIRE}::test_evidence_of_payment_is_an_anomaly",
    ),
    Mutant(
        "a proof of payment is no evidence",
        "L3",
        "jobs/expire_dp.py",
        "ORDER.c.dpProofUrl.is_not(None), ",
        "",
        f"{EXPIRE}::test_evidence_of_payment_is_an_anomaly",
    ),
    Mutant(
        "the jastiper has an hour less than promised",
        "L3",
        "jobs/auto_refund.py",
        "OLDER_THAN = timedelta(hours=24)",
        "OLDER_THAN = timedelta(hours=23)",
        f"{REFUND}::test_the_exact_limit_is_due tests/unit/test_config_files.py"
        "::test_the_shipped_toml_equals_the_defaults",
    ),
    Mutant(
        "an order that was answered once is rejected",
        "L3",
        "jobs/auto_refund.py",
        '(validatedAt)": ORDER.c.validatedAt.is_(None),',
        '(validatedAt)": waiting,',
        f"{REFUND}::test_a_stuck_order_is_an_anomaly",
    ),
    Mutant(
        "the jastiper's time runs from the checkout",
        "L3",
        "jobs/auto_refund.py",
        'cutoff}": ORDER.c.dpPaidAt <= cutoff',
        'cutoff}": ORDER.c.createdAt <= cutoff',
        f"{REFUND}::test_the_time_of_payment_counts_and_not_the_time_of_checkout",
    ),
    Mutant(
        "a disabled rule cancels all the same",
        "contract",
        "sweeper/app.py",
        "if settings[name].enabled",
        "if name",
        f"{EXPIRE}::test_a_disabled_rule_finds_nothing",
    ),
)
